"""A fitted reconstruction as plain files: settings and what was learned as JSON, numbers as safetensors.

The data are not among them. Reading takes nothing for granted: every byte is checked against the manifest, every
shape against the settings, and whatever does not fit is a CheckpointError.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from isocline._core.files import CheckpointError, load_folder, plain, save_folder

from .kernels.runs import Setup
from .members import Member, Stop, Validation
from .schedules import forcing_from_dict, forcing_to_dict
from .training import as_numbers
from .windows import Standard

if TYPE_CHECKING:
    from .estimator import Reconstructor

KIND = "isocline.dynamics reconstruction"
Kind = TypeVar("Kind", bound="Reconstructor")


def save(fitted: Reconstructor, folder: str | os.PathLike[str]) -> None:
    """Write a fitted ``Reconstructor``; a save that is interrupted leaves what was there before."""
    settings = {field.name: getattr(fitted, field.name) for field in dataclasses.fields(fitted)}
    members = [
        {"seed": one.seed, "alpha": one.alpha, "validation": one.validation} for one in fitted.members_
    ]
    config = {
        "kind": KIND,
        "settings": settings | {"forcing": forcing_to_dict(fitted.forcing)},
        "setup": fitted.members_[0].setup,
        "members": members,
        "stopped": fitted.stopped_,
        "truth": fitted.truth_,
        "seed": fitted.seed_,
        "resumed_at": fitted.resumed_at_,
        "history": fitted.history_,
    }
    arrays = {"mean": fitted.standard_.mean, "scale": fitted.standard_.scale, "start": fitted.start_}
    if fitted.inputs_standard_ is not None:
        arrays |= {"input_mean": fitted.inputs_standard_.mean, "input_scale": fitted.inputs_standard_.scale}
    for r, member in enumerate(fitted.members_):
        arrays |= {f"member.{r}.{name}": value for name, value in member.parameters.items()}
    save_folder(folder, plain(config), arrays)


def load(cls: type[Kind], folder: str | os.PathLike[str]) -> Kind:
    """Read it back. Raises CheckpointError."""
    config, arrays = load_folder(folder, tensors=True)
    if config.get("kind") != KIND:
        raise CheckpointError(f"{folder}: is not a saved reconstruction")
    try:
        return _rebuilt(cls, as_numbers(config), arrays)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder}: does not hold what a saved reconstruction must ({error})"
        ) from error


def _rebuilt(cls: type[Kind], config: dict[str, Any], arrays: dict[str, torch.Tensor]) -> Kind:
    settings = dict(config["settings"])
    settings["forcing"] = forcing_from_dict(settings["forcing"])
    settings["learning_rate"] = tuple(settings["learning_rate"])
    fitted = cls(**settings)
    fitted._check()
    setup = Setup(**config["setup"])
    fitted.members_ = tuple(_member(setup, r, one, arrays) for r, one in enumerate(config["members"]))
    if not fitted.members_:
        raise ValueError("no members")
    fitted.stopped_ = tuple(Stop(**one) for one in config["stopped"])
    fitted.truth_ = config["truth"]
    fitted.seed_, fitted.resumed_at_ = config["seed"], config["resumed_at"]
    fitted.history_ = config["history"]
    fitted.standard_ = Standard(*(_vector(arrays, name, setup.observed_dim) for name in ("mean", "scale")))
    fitted.start_ = _vector(arrays, "start", setup.observed_dim)
    fitted.inputs_standard_ = None
    if setup.input_dim:
        pair = (_vector(arrays, name, setup.input_dim) for name in ("input_mean", "input_scale"))
        fitted.inputs_standard_ = Standard(*pair)
    fitted.trained_on_, fitted.held_out_ = [], []
    return fitted


def _member(setup: Setup, r: int, saved: dict[str, Any], arrays: dict[str, torch.Tensor]) -> Member:
    parameters = {name: arrays[f"member.{r}.{name}"] for name in setup.shapes}
    for name, shape in setup.shapes.items():
        value = parameters[name]
        if tuple(value.shape) != shape or value.dtype != torch.float32 or not torch.isfinite(value).all():
            raise ValueError(f"{name} of member {r} is not {shape} finite float32")
    validation = None if saved["validation"] is None else Validation(**saved["validation"])
    return Member(setup, parameters, int(saved["seed"]), float(saved["alpha"]), validation)


def _vector(arrays: dict[str, torch.Tensor], name: str, size: int) -> np.ndarray:
    values = arrays[name].numpy().astype(np.float64)
    if values.shape != (size,):
        raise ValueError(f"{name} is not ({size},)")
    return values
