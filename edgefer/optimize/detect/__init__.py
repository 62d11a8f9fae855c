"""Export of face detectors: the same exporters as for classifiers, other pictures, another gate.

A detector's files give the grid of its network as it is, without softmax, one file for each size of picture. int8 is
calibrated on letterboxed scenes, and an artifact is held against the trained network by average precision on the
validation scenes and by whether it finds the same faces in the same places.
"""
