"""A 64-bit Arm board without the board: QEMU runs edgefer's own engine code on the real aarch64 packages.

`boards` are the CPUs, `programs` what must be installed, `root` prepares and caches what the emulator needs, `inside`
is what runs in it, `counts` reads what the plugin (plugin.c) counted, and `run` puts it together. It tells what a board
would answer and how many instructions that takes; never how long.
"""
