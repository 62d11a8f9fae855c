"""The parts of the web preview: who may ask, what they get, and the page."""
