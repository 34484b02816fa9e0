"""Train a small network until it gets every sample right, with a loss whose gradient does not fade.

    python examples/03_torch_network.py

Cross-entropy divides by the number of samples, so its gradient fades as samples come right. The normalized
loss divides by the share that is still wrong. For linear models this has a guarantee; for networks it has
none, so both are run here at the same learning rate. At ten times that rate cross-entropy almost gets there,
and the normalized loss breaks the network: try it.
"""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import binary_cross_entropy_with_logits

from isocline.linear_model import logistic_report, normalized_logistic_loss, stop_at_separation

X, y = load_digits(return_X_y=True)
images = torch.tensor(X / 16, dtype=torch.float32)
odd = torch.tensor(y % 2, dtype=torch.float32)


def train(loss, epochs=1500):
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    for weight in network.parameters():
        torch.nn.init.uniform_(weight, -0.1, 0.1, generator=generator)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for epoch in range(epochs):
        logits = network(images).squeeze(1)
        if stop_at_separation(logits, odd):
            return f"all {len(odd)} right after {epoch} epochs"
        optimizer.zero_grad()
        loss(logits, odd).backward()
        optimizer.step()
    wrong = logistic_report(network(images).squeeze(1), odd)["wrong"]
    return f"{wrong} of {len(odd)} still wrong after {epochs} epochs"


print("normalized loss:", train(normalized_logistic_loss))
print("cross-entropy:  ", train(binary_cross_entropy_with_logits))
