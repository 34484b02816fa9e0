"""What the claims of this room share: the book, its activations' names and colours, how they are judged."""

from __future__ import annotations

from ...style import GREY, OCHRE, ORANGE, PLUM, SKY, TEAL

PAPER = "Roberts, Yaida & Hanin, The Principles of Deep Learning Theory, CUP 2022, arXiv 2106.10165"
NAMES = {
    "relu": "ReLU",
    "leaky_relu(0.1)": "leaky ReLU",
    "linear": "linear",
    "tanh": "tanh",
    "sin": "sin",
    "erf": "erf",
    "gelu": "GELU",
    "swish": "SWISH",
}
COLORS = {
    "relu": ORANGE,
    "leaky_relu(0.1)": SKY,
    "linear": GREY,
    "tanh": TEAL,
    "sin": SKY,
    "erf": GREY,
    "gelu": PLUM,
    "swish": OCHRE,
}
