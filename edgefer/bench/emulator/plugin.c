/*
 * A QEMU TCG plugin (interface version 1: QEMU 7.2 to 8.2) that counts executed A64 instructions by class.
 *
 *   qemu-aarch64 -plugin plugin.so,out=FILE …
 *
 * FILE gets these lines:
 *   last ADDRESS WORD            the last instruction translated, always the first line, rewritten in place: the one
 *                                that ended the process, when an illegal instruction did
 *   map START END PATH           a file that became executable memory
 *   mark INTEGER SIMD DOT LOAD_STORE BRANCH CRYPTO OTHERS
 *                                the counters at a marker, lseek(any descriptor, 0x7E0001, SEEK_SET). The counters run
 *                                always, so what lies between two markers is their difference. CRYPTO instructions are
 *                                in SIMD as well; OTHERS are system calls that other threads have come back from.
 *
 * Each translated block adds its counts as it is entered; QEMU does not guard these additions against other threads.
 * So counts are exact while one thread runs. A thread that had slept comes back from a system call first: OTHERS shows it.
 *
 * No Debian package brings QEMU's header for plugins, so the few declarations that are needed stand here.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "classes.h"

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct qemu_info_t qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

typedef void (*on_translation)(plugin_id, struct qemu_plugin_tb *);
typedef void (*on_call)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t);
typedef void (*on_return)(plugin_id, unsigned, int64_t, int64_t);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_call);
void qemu_plugin_register_vcpu_syscall_ret_cb(plugin_id, on_return);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = 1;

/* Linux's numbers of these system calls on aarch64. */
enum { LSEEK = 62, MMAP = 222 };
enum { MARKER = 0x7E0001, EXECUTABLE = 4 };

static uint64_t counts[CLASSES], crypto, others;
static int out = -1;

/* The file that this thread is about to map as executable; -1 for none. */
static __thread int mapped = -1;
static __thread uint64_t mapped_length;

static void line(const char *text, int length, int rewrite_first)
{
    ssize_t done = rewrite_first ? pwrite(out, text, length, 0) : write(out, text, length);
    if (done != length) {
        static const char sorry[] = "edgefer: the counts cannot be written\n";
        if (write(2, sorry, sizeof sorry - 1) < 0) {
            /* then the exit status has to do */
        }
        _exit(70);
    }
}

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    uint64_t found[CLASSES] = {0}, found_crypto = 0, address = 0;
    uint32_t word = 0;
    size_t n = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
        address = qemu_plugin_insn_vaddr(instruction);
        found[class_of(word)]++;
        found_crypto += is_crypto(word);
    }
    for (int c = 0; c < CLASSES; c++) {
        if (found[c]) {
            qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &counts[c], found[c]);
        }
    }
    if (found_crypto) {
        qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &crypto, found_crypto);
    }
    char text[64];
    line(text, snprintf(text, sizeof text, "last %016" PRIx64 " %08" PRIx32 "\n", address, word), 1);
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    if (number == LSEEK && a2 == MARKER && a3 == SEEK_SET) {
        char text[256];
        int length = snprintf(text, sizeof text, "mark");
        for (int c = 0; c < CLASSES; c++) {
            length += snprintf(text + length, sizeof text - length, " %" PRIu64, counts[c]);
        }
        length += snprintf(text + length, sizeof text - length, " %" PRIu64 " %" PRIu64 "\n", crypto,
                           __atomic_load_n(&others, __ATOMIC_RELAXED));
        line(text, length, 0);
    } else if (number == MMAP) {
        mapped = (a3 & EXECUTABLE) ? (int)a5 : -1;
        mapped_length = a2;
    }
}

static void returned(plugin_id id, unsigned cpu, int64_t number, int64_t result)
{
    if (cpu != 0) {
        __atomic_fetch_add(&others, 1, __ATOMIC_RELAXED);
    }
    if (number == MMAP && mapped >= 0) {
        char link[32], path[4096], text[4200];
        snprintf(link, sizeof link, "/proc/self/fd/%d", mapped);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0 && (result > 0 || result < -4095)) {
            path[length] = 0;
            line(text, snprintf(text, sizeof text, "map %" PRIx64 " %" PRIx64 " %s\n", (uint64_t)result,
                                (uint64_t)result + mapped_length, path), 0);
        }
        mapped = -1;
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const qemu_info_t *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0) {
            out = open(argv[i] + 4, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        }
    }
    if (out < 0) {
        fprintf(stderr, "edgefer: the plugin needs out=FILE, a file that it may write\n");
        return -1;
    }
    char text[64];
    line(text, snprintf(text, sizeof text, "last %016x %08x\n", 0, 0), 0);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_vcpu_syscall_ret_cb(id, returned);
    return 0;
}
