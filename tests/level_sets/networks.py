"""The reference networks, from the weights in their files."""

import numpy as np
import torch
from torch import nn

from isocline.level_sets import Normalized

ACTIVATIONS = {"tanh": nn.Tanh, "gelu": nn.GELU, "relu": nn.ReLU}
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network(file: np.lib.npyio.NpzFile) -> nn.Module:
    act = ACTIVATIONS[str(file["act"])]
    if str(file["arch"]) == "mlp":
        layers = [nn.Flatten(), nn.Linear(48, 16), act(), nn.Linear(16, 3)]
        names = {1: "w_a", 3: "w_b"}
    else:
        layers = [nn.Conv2d(3, 6, 3, padding=1), act(), nn.Conv2d(6, 8, 3, stride=2, padding=1), act()]
        layers += [nn.Flatten(), nn.Linear(128, 4)]
        names = {0: "w_c1", 2: "w_c2", 5: "w_fc"}
    for i, name in names.items():
        layers[i].weight.data = torch.tensor(file[f"{name}.weight"])
        layers[i].bias.data = torch.tensor(file[f"{name}.bias"])
    model = nn.Sequential(*layers).eval()
    return Normalized(model, *IMAGENET) if str(file["normalize"]) == "imagenet" else model
