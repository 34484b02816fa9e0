"""Saved and read back, a model gives the same numbers; damaged or foreign, it is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

from isocline._core.files import CheckpointError, load_folder, save_folder
from isocline.dynamics.estimator import Reconstructor
from isocline.dynamics.schedules import AdaptiveForcing


def test_the_same_numbers_in_another_process(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    code = (
        "import sys, numpy as np; from isocline.dynamics.estimator import Reconstructor;"
        "np.save(sys.argv[2], Reconstructor.load(sys.argv[1]).generate(200))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model"), str(tmp_path / "run.npy")], check=True
    )
    np.testing.assert_array_equal(np.load(tmp_path / "run.npy"), fitted.generate(200))


def test_settings_and_all_that_was_learned_come_back(fitted, tmp_path):
    fitted.save(tmp_path)
    again = Reconstructor.load(tmp_path)
    assert repr(again) == repr(fitted)
    assert again.history_ == fitted.history_
    assert again.seed_ == fitted.seed_
    assert again.truth_ == pytest.approx(fitted.truth_, nan_ok=True)
    for ours, theirs in zip(fitted.members_, again.members_, strict=True):
        assert (ours.validation, ours.alpha, ours.seed, ours.setup) == (
            theirs.validation, theirs.alpha, theirs.seed, theirs.setup,
        )  # fmt: skip


def test_driven_affine_and_adaptive_come_back_too(made, tmp_path, random):
    x, s = random.normal(size=(300, 3)), random.normal(size=(300, 2))
    found = made(
        observation="affine", latent_dim=2, forcing=AdaptiveForcing(), updates=20, validation=0.2
    ).fit(x, s)
    found.save(tmp_path)
    again = Reconstructor.load(tmp_path)
    np.testing.assert_array_equal(again.generate(9, x[0], s[:9]), found.generate(9, x[0], s[:9]))


def test_a_saved_model_holds_none_of_the_data(fitted, orbit, tmp_path):
    fitted.save(tmp_path)
    _, arrays = load_folder(tmp_path)
    values = np.concatenate([array.ravel() for array in arrays.values()])
    shared = np.isin(fitted.standard_.apply(orbit[0]), values).all(1).sum()
    assert shared <= 1  # the one sample from which it generates


def _forged(folder, change):
    config, arrays = load_folder(folder, tensors=True)
    change(config, arrays)
    save_folder(folder, config, arrays)


FORGED = {
    "another kind": lambda c, a: c.update(kind="isocline.dynamics checkpoint"),
    "no members": lambda c, a: c.update(members=[]),
    "more members": lambda c, a: c["members"].append(dict(c["members"][0])),
    "an unknown setting": lambda c, a: c["settings"].update(hidden=3),
    "a wrong setting": lambda c, a: c["settings"].update(updates="many"),
    "an unknown schedule": lambda c, a: c["settings"]["forcing"].update(kind="os.system"),
    "another size": lambda c, a: c["setup"].update(hidden_dim=31),
    "a missing array": lambda c, a: a.pop("member.1.W2"),
    "no mean": lambda c, a: a.pop("mean"),
    "a NaN": lambda c, a: a["member.0.A"].fill_(float("nan")),
    "another type": lambda c, a: a.update({"member.0.A": a["member.0.A"].double()}),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_folder_that_does_not_fit_is_refused(change, fitted, tmp_path):
    fitted.save(tmp_path)
    _forged(tmp_path, change)
    with pytest.raises(CheckpointError):
        Reconstructor.load(tmp_path)


def test_a_damaged_byte_anywhere_is_noticed(fitted, tmp_path, random):
    """Every file of the folder, at places drawn: nothing but CheckpointError, and never a model."""
    fitted.save(tmp_path)
    tried = 0
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for _ in range(12):
            at = int(random.integers(len(whole)))
            for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]):
                path.write_bytes(damaged)
                try:
                    Reconstructor.load(tmp_path)
                except CheckpointError:
                    tried += 1
                else:
                    assert json.loads(damaged) == json.loads(whole)  # white space of the manifest
        path.write_bytes(whole)
    assert tried > 50


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        Reconstructor.load(tmp_path / "nowhere")
