"""Devices: one TOML file a board, with how to recognise it and what to prefer on it. A new file is a new device."""
