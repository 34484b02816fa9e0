"""Deployment in bits: pack a trained model, run it, save it, load it without training code, write it as ONNX."""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from .file import load, save
    from .model import PackedModel
    from .onnx import export_onnx
    from .packing import PackingWarning, pack

_WHERE = {
    "PackedModel": "model",
    "PackingWarning": "packing",
    "export_onnx": "onnx",
    "load": "file",
    "pack": "packing",
    "save": "file",
}

__all__ = ["PackedModel", "PackingWarning", "export_onnx", "load", "pack", "save"]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, ())
