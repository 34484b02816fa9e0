"""Models as folders: settings in JSON, weights in safetensors, both checked by digest; on a disk or on the Hub."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from isocline._core.files import CheckpointError, load_folder, save_folder

HUB = "model: want huggingface_hub installed for a model of the Hub, got none; pip install 'isocline[hub]'"


class Pretrained:
    """``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` for a module whose ``config`` rebuilds it."""

    config: dict[str, Any]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write settings and weights into a folder, in one step: an interrupted save leaves what was there before."""
        assert isinstance(self, nn.Module)
        saved = {"model": type(self).__name__, "settings": self.config}
        save_folder(folder, saved, dict(self.state_dict()))
        return Path(folder)

    @classmethod
    def from_pretrained(cls, model: str | os.PathLike[str], *, revision: str | None = None) -> Self:
        """A model from a folder, or by ``"owner/name"`` (and `revision`) from the Hub. Nothing in it is executed.

        Raises: CheckpointError for what is missing, damaged, or another kind of model; ImportError for a model of the Hub
        without `huggingface_hub`.
        """
        folder = Path(model) if Path(model).is_dir() or not _on_hub(model) else _fetched(str(model), revision)
        saved, weights = load_folder(folder, tensors=True)
        if saved.get("model") != cls.__name__:
            raise CheckpointError(f"{folder}: holds a {saved.get('model')}, not a {cls.__name__}")
        return _rebuilt(cls, saved.get("settings"), weights, folder)

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload the folder of `save_pretrained` as ``"owner/name"``; returns its address.

        Raises: ImportError without `huggingface_hub`.
        """
        try:
            from huggingface_hub import HfApi  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(HUB) from error
        api = HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            return str(api.upload_folder(repo_id=name, folder_path=self.save_pretrained(folder)))


def _on_hub(name: str | os.PathLike[str]) -> bool:
    parts = str(name).split("/")
    return isinstance(name, str) and len(parts) == 2 and all(part and part[0].isalnum() for part in parts)


def _fetched(name: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(HUB) from error
    return Path(snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.safetensors"]))


def _rebuilt(cls: Any, settings: Any, weights: dict[str, Tensor], folder: Path) -> Any:
    try:
        if isinstance(settings.get("size"), list):
            settings["size"] = tuple(settings["size"])
        with torch.device("meta"):
            model = cls(**settings)
        model.load_state_dict(weights, assign=True)
        for parameter in model.parameters():
            parameter.requires_grad_()
    except Exception as error:  # the files of others: whatever is said, they are no model of this kind
        raise CheckpointError(
            f"{folder}: its settings and weights make no {cls.__name__} ({error})"
        ) from error
    return model
