"""Models as folders: they come back with the same numbers, and what is damaged, foreign or hostile is refused."""

import pickle
import sys

import pytest
import torch

from isocline._core.files import CheckpointError
from isocline.plstm import PLSTMLanguageModel, PLSTMVision, convert_reference_checkpoint
from isocline.plstm.models.reference import _names


def vision(**changes):
    how = {"dim": 16, "heads": 2, "depth": 1, "patch": 4, "size": (16, 8), "channels": 1}
    return PLSTMVision(3, **how | changes)


def language():
    return PLSTMLanguageModel(7, dim=16, heads=2, depth=1, channels=2)


@pytest.mark.parametrize(
    "make", [vision, language, lambda: vision(pooling="cls", position=False, layer_scale=1.0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_comes_back(tmp_path, make, dtype):
    model = make().to(dtype)
    found = type(model).from_pretrained(model.save_pretrained(tmp_path))
    assert found.config == model.config
    state = found.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.dtype == dtype and p.device.type == "cpu" for p in found.parameters())
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".safetensors"]


def test_what_is_no_such_model_is_refused(tmp_path):
    language().save_pretrained(tmp_path / "language")
    with pytest.raises(CheckpointError, match="holds a PLSTMLanguageModel, not a PLSTMVision"):
        PLSTMVision.from_pretrained(tmp_path / "language")
    with pytest.raises(CheckpointError, match="nothing was ever saved here"):
        PLSTMVision.from_pretrained(tmp_path)
    model = vision()
    model.save_pretrained(tmp_path / "vision")
    weights = next((tmp_path / "vision").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        PLSTMVision.from_pretrained(tmp_path / "vision")


def test_settings_that_do_not_fit_the_weights_are_refused(tmp_path, monkeypatch):
    model = vision()
    monkeypatch.setattr(PLSTMVision, "config", {**model.config, "dim": 32})
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="make no PLSTMVision"):
        PLSTMVision.from_pretrained(tmp_path)


def test_the_hub_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'isocline\[hub\]'"):
        PLSTMVision.from_pretrained("somebody/model")
    with pytest.raises(ImportError, match=r"pip install 'isocline\[hub\]'"):
        vision().push_to_hub("somebody/model")


def test_the_hub_is_asked_for_the_folder(tmp_path, monkeypatch):
    """A stand-in for the Hub's library: a folder that is pushed is the folder that is fetched."""
    import shutil
    from types import SimpleNamespace

    class Api:
        def create_repo(self, name, private, exist_ok):
            assert (name, private, exist_ok) == ("somebody/model", True, True)

        def upload_folder(self, repo_id, folder_path):
            shutil.copytree(folder_path, tmp_path / repo_id)
            return f"there/{repo_id}"

    def fetch(name, revision, allow_patterns):
        assert (revision, allow_patterns) == ("v1", ["*.json", "*.safetensors"])
        return str(tmp_path / name)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api, snapshot_download=fetch))
    model = vision()
    assert model.push_to_hub("somebody/model", private=True) == "there/somebody/model"
    found = PLSTMVision.from_pretrained("somebody/model", revision="v1")
    assert torch.equal(found.embed.weight, model.embed.weight)


def reference_state(model):
    """The state of a model under the published names and, where they differ, shapes."""
    own = model.state_dict()
    state = {theirs: own[ours] for ours, theirs in _names(model)}
    if "pos_embed.embed" in state:
        state["pos_embed.embed"] = state["pos_embed.embed"][None]
    heads = model.heads
    return {
        name: value.reshape(heads, -1) if name.endswith("mhnorm.scale") else value
        for name, value in state.items()
    }


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    "changes", [{}, {"depth": 2}, {"modes": "DP"}, {"position": False, "pooling": "mean"}]
)
def test_published_checkpoints(tmp_path, changes, wrapped):
    model = vision(variant="reference", **changes)
    state = reference_state(model)
    if wrapped:
        state = {
            "state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()},
            "epoch": 3,
        }
    torch.save(state, tmp_path / "published.pt")
    found = convert_reference_checkpoint(tmp_path / "published.pt")
    images = torch.rand(2, 1, 16, 8)
    torch.testing.assert_close(found(images), model(images), rtol=0, atol=0)
    assert all(p.requires_grad for p in found.parameters())


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_hostile_checkpoint_is_not_executed(tmp_path, capsys):
    path = tmp_path / "hostile.pt"
    torch.save({"head.weight": Hostile()}, path)
    with pytest.raises(CheckpointError, match="is no file of tensors"):
        convert_reference_checkpoint(path)
    path.write_bytes(pickle.dumps(Hostile(), protocol=2))
    with pytest.raises(CheckpointError, match="is no file of tensors"):
        convert_reference_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_other_checkpoints_are_named(tmp_path):
    state = reference_state(vision(variant="reference"))
    wrong = {
        "want a published pLSTM-Vis state": {"weight": torch.zeros(3)},
        "want tensors by name": {"a": 3},
        "1 fewer": {name: value for name, value in state.items() if name != "norm.scale"},
        "1 others": state | {"more": torch.zeros(1)},
        "for norm.scale, got": state | {"norm.scale": torch.zeros(5)},
    }
    for message, given in wrong.items():
        with pytest.raises(CheckpointError, match=message):
            convert_reference_checkpoint(given)
