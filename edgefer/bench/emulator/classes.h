/* Which class an A64 instruction belongs to, by its top-level encoding (Arm ARM, C4.1). Knows nothing of QEMU. */
#ifndef EDGEFER_CLASSES_H
#define EDGEFER_CLASSES_H

#include <stdint.h>

enum { INTEGER, SIMD, DOT, LOAD_STORE, BRANCH, CLASSES };

/* SDOT and UDOT, whose bit 29 says which: the vector form and the one by element; both with int8 (size 10). */
static inline int is_dot(uint32_t word)
{
    return (word & 0x9FE0FC00u) == 0x0E809400u || (word & 0x9FC0F400u) == 0x0F80E000u;
}

/* The optional AES, SHA-1, SHA-256 and 64-bit polynomial multiplication, which a Raspberry Pi 4 was made without. */
static inline int is_crypto(uint32_t word)
{
    return (word & 0xFFFFCC00u) == 0x4E284800u     /* AESE, AESD, AESMC, AESIMC */
           || (word & 0xFFE08C00u) == 0x5E000000u  /* SHA1C … SHA256SU1, three registers */
           || (word & 0xFFFFCC00u) == 0x5E280800u  /* SHA1H, SHA1SU1, SHA256SU0 */
           || (word & 0xBFE0FC00u) == 0x0EE0E000u; /* PMULL, PMULL2 to 128 bits */
}

static inline int class_of(uint32_t word)
{
    uint32_t op0 = (word >> 25) & 15;
    if ((op0 & 5) == 4) { /* x1x0 */
        return LOAD_STORE;
    }
    if ((op0 & 14) == 10) { /* 101x: branches, exceptions, system */
        return BRANCH;
    }
    if ((op0 & 7) == 7) { /* x111: scalar floating point and SIMD */
        return is_dot(word) ? DOT : SIMD;
    }
    return INTEGER; /* 100x with an immediate, x101 with registers; none of these CPUs has the rest (SVE, SME) */
}

#endif
