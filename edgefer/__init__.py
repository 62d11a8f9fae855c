"""edgefer: facial-emotion classifiers from training data to a camera on a small board."""

__version__ = "0.1.0"
