"""The commands, one file each: options in, a stage's function called, its result shown."""
