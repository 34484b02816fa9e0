"""What the claims of this room share: the paper, its methods' names, its colours."""

from ...style import ORANGE, PLUM, SKY, TEAL

PAPER = "Tyurin, From Logistic Regression to the Perceptron Algorithm, AAAI 2025, arXiv 2412.08424"
NAMES = {
    "lr_gd": "LR+GD",
    "normalized_lr_gd": "Normalized LR+GD",
    "batch_perceptron": "Batch Perceptron",
    "normalized_batch_perceptron": "Normalized Batch Perceptron",
}
COLORS = {
    "lr_gd": ORANGE,
    "normalized_lr_gd": TEAL,
    "batch_perceptron": PLUM,
    "normalized_batch_perceptron": SKY,
}
