"""A packed model: a program on bits, run step by step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isocline._core.checks import wrong

from .kernels import backend_for
from .operations import Run, make
from .program import Step
from .values import Value


class PackedModel:
    """What `pack` makes and `load` reads: call it with a batch, as the model it was made from.

    steps: the program. notes: what stays float, and why. It holds bits and numbers, no parameters: nothing can be trained.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        input_name: str,
        output_name: str,
        *,
        notes: Sequence[str] = (),
        backend: str = "auto",
    ) -> None:
        self.backend = backend_for(backend)
        self.steps, self.notes = tuple(steps), tuple(notes)
        self.input_name, self.output_name = input_name, output_name
        self._runs: list[Run] = [
            _as_it_is(step, self.backend)
            if step.call
            else make(step.op, step.settings, step.arrays, self.backend)
            for step in self.steps
        ]
        self._last_use = self._check_names()

    def __call__(self, x: Tensor) -> Tensor:
        """The model's output, without gradients. Raises TypeError unless x is float32 on the CPU, ValueError for NaN."""
        if not isinstance(x, Tensor) or x.dtype != torch.float32 or x.device.type != "cpu" or x.ndim < 2:
            got = f"{x.dtype} on {x.device}, {x.ndim} axes" if isinstance(x, Tensor) else type(x).__name__
            raise wrong("x", "a batch of float32 on the CPU", got.removeprefix("torch."), error=TypeError)
        first = x.detach().contiguous()
        values: dict[str, Any] = {self.input_name: Value(x.ndim - 2, first=first, backend=self.backend)}
        for i, (step, run) in enumerate(zip(self.steps, self._runs, strict=True)):
            try:
                values[step.name] = run(*(values[name] for name in step.inputs))
            except ValueError as error:
                raise type(error)(f"{step.name}: {error}") from error
            for name in step.inputs:
                if self._last_use[name] == i:
                    values.pop(name, None)
        found = values[self.output_name]
        return found.first() if isinstance(found, Value) else found

    def _check_names(self) -> dict[str, int]:
        """Where each value is used last; raises ValueError unless every step's inputs come before it."""
        last = {self.input_name: len(self.steps)}
        for i, step in enumerate(self.steps):
            unknown = [name for name in step.inputs if name not in last]
            if unknown or step.name in last:
                raise ValueError(
                    f"step {step.name} takes {unknown or 'a name'} that is not made, or is made twice"
                )
            last |= dict.fromkeys(step.inputs, i)
            last[step.name] = len(self.steps)
        if self.output_name not in last:
            raise ValueError(f"no step makes the output {self.output_name}")
        last[self.output_name] = len(self.steps)
        return last

    def sizes(self) -> dict[str, int]:
        """Bytes on disk by kind: weights in bits, what becomes of their sums, and numbers of float parts."""
        found = {"1-bit weights": 0, "limits and affine maps": 0, "float weights": 0}
        for step in self.steps:
            for name, array in step.arrays.items():
                bits = step.op in ("convolution", "bit_weights")
                kind = (
                    "float weights"
                    if not bits
                    else "1-bit weights"
                    if name == "weight"
                    else "limits and affine maps"
                )
                found[kind] += array.nbytes
        return found

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write it to a folder (see `isocline.binary.packed.file`)."""
        from .file import save

        save(self, folder)

    def __repr__(self) -> str:
        bitwise = sum(step.op == "convolution" for step in self.steps)
        kib = sum(self.sizes().values()) / 1024
        return (
            f"PackedModel({bitwise} layers on bits, {len(self.steps) - bitwise} other steps, {kib:.0f} KiB)"
        )


def _as_it_is(step: Step, backend: str) -> Run:
    """A step without an operation: a module or function of the model itself."""

    def run(*values: Any) -> Any:
        assert step.call is not None
        with torch.inference_mode():
            made = step.call(*(value.first() if isinstance(value, Value) else value for value in values))
        return Value(max(0, made.ndim - 2), first=made, backend=backend) if isinstance(made, Tensor) else made

    return run
