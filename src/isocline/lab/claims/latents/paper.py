"""The paper whose claims these are."""

PAPER = (
    "Chen, Jiang, Duke, Zhao & Aarabi, Exploring Gradient-based Multi-directional Controls in GANs, ECCV 2022"
)
