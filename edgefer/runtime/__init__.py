"""What runs on the device: engines, frame sources, face detectors, tracking, and where results go.

Needs the base package alone: nothing here imports training or export code.
"""
