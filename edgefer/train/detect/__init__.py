"""Training of face detectors: scenes with boxes in, a detector bundle out.

A view (`views`) is cut from the scenes, its faces become a grid of targets (`targets`), the network (`network`) is held
against them (`loss`), and `fit` does that until the recipe's steps are done. What a network gives is the centre grid of
`edgefer.grid`.
"""
