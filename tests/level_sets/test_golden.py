"""The published algorithm's own paths, in float64."""

import numpy as np
import pytest
import torch

from isocline.level_sets import traverse

from .networks import network

CASES = ["mlp_tanh_paper", "mlp_gelu_noadv", "cnn_tanh_short", "cnn_gelu_reject_adv", "cnn_relu_reject_noadv"]


def walked(file, **changes):
    given = {key: torch.tensor(file[key]) for key in ("source", "target", "source_label", "uniform")}
    options = {
        "eta": float(file["step_size"]),
        "steps": int(file["iters"]),
        "eps": float(file["adv_step"]) if bool(file["adv"]) else 0.0,
        "delta": float(file["pthresh"]),
        "method": "paper",
        "start_noise": given["uniform"],
        "every": 1,
    } | changes
    return traverse(network(file), given["source"], given["target"], given["source_label"], **options)


@pytest.mark.parametrize("name", CASES)
def test_every_reference_path(golden, name):
    file = np.load(golden / "level_sets" / f"{name}.npz")
    found = walked(file)
    tolerance = 1e-7 if str(file["act"]) == "relu" else 1e-9  # up to 400 steps in float64; a kink of ReLU
    kept = found.kept.numpy()
    np.testing.assert_array_equal(kept, file["kept"])
    np.testing.assert_array_equal(found.accepted[kept], file["accepted"])
    at = torch.searchsorted(
        found.path_steps, torch.tensor(file["path_index"])
    )  # it ends where nothing changes any more
    np.testing.assert_allclose(found.path[kept][:, at], file["path"], atol=tolerance, rtol=0)
    np.testing.assert_allclose(found.confidences[kept, :-1], file["conf_source"], atol=tolerance, rtol=0)
    np.testing.assert_allclose(found.end[kept], file["final"], atol=tolerance, rtol=0)
    np.testing.assert_allclose(found.end_score[kept], file["final_conf_source"], atol=tolerance, rtol=0)
    np.testing.assert_allclose(found.source_score[kept], file["source_conf"], atol=tolerance, rtol=0)
    assert [why for why, walks in zip(found.stopped, kept, strict=True) if not walks] == [
        "misclassified"
    ] * int((~kept).sum())
    torch.testing.assert_close(found.end[~found.kept], found.source[~found.kept])
