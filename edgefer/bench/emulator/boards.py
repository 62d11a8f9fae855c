"""The boards that can be emulated: their CPU, and what Linux tells about it there.

QEMU shows a program the host's own /proc and /sys. The engines choose their kernels by them, so on an x86 host they
crash or take slow ones without a word: they are given these files instead.
"""

from __future__ import annotations

from dataclasses import dataclass

CORES = 4


@dataclass(frozen=True)
class Board:
    """One board, as much of it as a program sees that computes and no more."""

    name: str
    title: str
    """As its device tree calls it."""
    cpu: str
    """QEMU's name of the CPU."""
    part: int
    """What the CPU says it is: `CPU part` in /proc/cpuinfo."""
    variant: int
    """Its revision is r`variant`p`revision`."""
    revision: int
    features: str
    """`Features` in /proc/cpuinfo on the real board."""
    code: str
    """The board's own revision code: `Revision` in /proc/cpuinfo."""

    @property
    def has_dot(self) -> bool:
        """Whether the CPU has the int8 dot product, SDOT and UDOT."""
        return "asimddp" in self.features.split()

    @property
    def has_crypto(self) -> bool:
        """Whether the CPU has AES and SHA instructions; QEMU's CPUs have them always."""
        return "aes" in self.features.split()

    def files(self) -> dict[str, str]:
        """Return path → text of the files of /proc and /sys, paths relative to the root."""
        midr = 0x41 << 24 | self.variant << 20 | 0xF << 16 | self.part << 4 | self.revision
        cpu = "sys/devices/system/cpu"
        listed = f"0-{CORES - 1}\n"
        files = {"proc/cpuinfo": self._cpuinfo(), f"{cpu}/kernel_max": "255\n"}
        files |= {f"{cpu}/{name}": listed for name in ("possible", "present", "online")}
        for core in range(CORES):
            topology = f"{cpu}/cpu{core}/topology"
            files |= {
                f"{topology}/physical_package_id": "0\n",
                f"{topology}/core_id": f"{core}\n",
                f"{topology}/core_siblings_list": listed,
                f"{topology}/package_cpus_list": listed,
                f"{topology}/thread_siblings_list": f"{core}\n",
                f"{topology}/core_cpus_list": f"{core}\n",
                f"{cpu}/cpu{core}/regs/identification/midr_el1": f"0x{midr:016x}\n",
            }
        return files

    def _cpuinfo(self) -> str:
        core = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: {self.variant:#x}\nCPU part\t: {self.part:#x}\nCPU revision\t: {self.revision}\n\n"
        )
        cores = "".join(f"processor\t: {n}\n{core}" for n in range(CORES))
        return f"{cores}Revision\t: {self.code}\nSerial\t\t: 0000000000000000\nModel\t\t: {self.title}\n"


BOARDS = {
    board.name: board
    for board in (
        Board(
            name="rpi4",
            title="Raspberry Pi 4 Model B Rev 1.4",
            cpu="cortex-a72",
            part=0xD08,
            variant=0,
            revision=3,
            features="fp asimd evtstrm crc32 cpuid",
            code="c03114",
        ),
        Board(
            name="rpi5",
            title="Raspberry Pi 5 Model B Rev 1.0",
            cpu="cortex-a76",
            part=0xD0B,
            variant=4,
            revision=1,
            features=(
                "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
            ),
            code="c04170",
        ),
    )
}
"""By the name of the device profile (`edgefer/devices`)."""
