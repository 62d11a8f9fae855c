"""From trained weights to what a device runs: calibrate, convert, and check in the real engine before it is kept.

`export.export` is the way in. Conversion runs in a process of its own (`convert`), because TensorFlow writes to
standard output and was once seen to abort; nothing here imports it.
"""
