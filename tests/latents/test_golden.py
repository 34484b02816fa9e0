"""Published paths, float64, to 1e-10: the README of the vectors says how they were made."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from isocline.latents import AttributeModel, edit

GOLDEN = Path(__file__).parents[1] / "golden" / "latent_controls"


def read(name):
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "biuf"}


def net(data, i):
    own = {key: value for key, value in data.items() if f"classifiers.{i}.classifier" in key}
    found = {key.split("classifier.")[-1]: value for key, value in own.items()}
    made = nn.Sequential(nn.Linear(512, 16), nn.LeakyReLU(0.1), nn.Linear(16, len(found["2.bias"])))
    made.load_state_dict({key: value.double() for key, value in found.items()})
    return made


@pytest.mark.parametrize("score", ["logit", "log_prob", "prob"])
@pytest.mark.parametrize(("to", "key"), [(1, "pos"), (-1, "neg")])
def test_two_way_with_excluded_channels(to, key, score):
    data = read("binary_excl")
    names = [f"a{i}" for i in range(4)]
    model = AttributeModel.from_classifiers({n: net(data, i) for i, n in enumerate(names)}, width=512)
    excluded = [names[int(i)] for i in data["exclude"].flatten()]
    counts = data["top"].flatten().tolist()
    counts = counts * len(excluded) if len(counts) == 1 else counts
    path = edit(
        model, data["w0"].reshape(1, 512), names[int(data["target"])], to, excluded, method="exclude",
        exclude_channels=dict(zip(excluded, counts, strict=True)), score=score, steps=9, length=4.0,
    )  # fmt: skip
    torch.testing.assert_close(path.codes[:, 0], data[f"path_{key}"], rtol=0, atol=1e-10)
    kept = np.unpackbits(data[f"mask_{key}"].numpy())[: 9 * 512].reshape(9, 512).astype(bool)
    assert np.array_equal(path.masks[:, 0].numpy(), kept)
    assert (kept.sum(1) < 512).all()
    p = torch.sigmoid(torch.stack([path.scores[name][:, 0] for name in names], 1))
    torch.testing.assert_close(p, data[f"prob_{key}"], rtol=0, atol=1e-10)


def test_towards_every_class_by_its_probability():
    data = read("multiclass5")
    model = AttributeModel.from_classifiers({"colour": net(data, 0)}, width=512)
    for c in range(5):
        path = edit(model, data["w0"].reshape(1, 512), "colour", c, score="prob", steps=9, length=4.0)
        torch.testing.assert_close(path.codes[:, 0], data[f"path_{c}"], rtol=0, atol=1e-10)
        p = path.scores["colour"][:, 0].softmax(1)
        torch.testing.assert_close(p, data[f"prob_{c}"].reshape(10, 5), rtol=0, atol=1e-10)
    by_log = edit(model, data["w0"].reshape(1, 512), "colour", 3, steps=9, length=4.0)
    assert int(by_log.scores["colour"][-1, 0].argmax()) == 3  # where the probability's path does not arrive
