"""A classifier of images: patches on a grid, read from all four corners, at any size of image."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice, check_number, wrong
from isocline.plstm.gates import small_init_, words
from isocline.plstm.layers import PLSTM2d
from isocline.plstm.models.blocks import EPS, PostUpBlock
from isocline.plstm.models.files import Pretrained
from isocline.plstm.models.pooling import POOLINGS, pool

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 192, "heads": 3, "drop_path": 0.0},
    "small": {"dim": 384, "heads": 6, "drop_path": 0.05},
    "base": {"dim": 768, "heads": 12, "drop_path": 0.1},
}
HEAD_DEVIATION = 2e-5
POSITION_DEVIATION = 0.02


def resized(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Learned positions on another grid, by bicubic interpolation. Shapes: ``(X, Y, D)`` to ``(*grid, D)``."""
    if positions.shape[:2] == grid:
        return positions
    planes = positions.movedim(-1, 0)[None]
    found = nn.functional.interpolate(planes, size=grid, mode="bicubic", align_corners=False)
    return found[0].movedim(0, -1)


class PLSTMVision(Pretrained, nn.Module):
    """Patches of an image, `depth` pairs of a P-mode and a D-mode layer, and a linear map of what the corners hold.

    Every patch is a node of a grid; each layer runs from all four corners. A model takes images of any size that is a multiple
    of `patch`: layers know no size, and the learned positions of a `size` image are interpolated.

    modes: of the layers of one block, "PD" as published; "PP" is propagation only, "DD" distribution only.
    pooling: "corners" (four patches side by side, each of which has read the whole image), "mean", "sum", "center" (the patch in
    the middle) or "cls" (a learned vector's attention over all patches: a grid has no place for a token of its own).
    position: False leaves the learned positions out. drop_path: rate at which a branch is left out in training.
    variant, small_gates, backend: see `PLSTM2d`.

    Shapes: images ``(B, channels, H, W)`` to logits ``(B, classes)``. Raises: ValueError for sizes that do not divide, unknown
    names, images that are not whole patches. Source: pLSTM, arXiv 2506.11997, pLSTM-Vis.

    >>> sum(p.numel() for p in PLSTMVision.tiny().parameters())
    6314404
    """

    def __init__(
        self,
        classes: int = 1000,
        *,
        dim: int = 192,
        heads: int = 3,
        depth: int = 6,
        modes: str = "PD",
        patch: int = 16,
        size: int | tuple[int, int] = 224,
        channels: int = 3,
        pooling: str = "corners",
        position: bool = True,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        variant: str = "paper",
        small_gates: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        whole = {"classes": classes, "dim": dim, "depth": depth, "patch": patch, "channels": channels}
        for name, value in whole.items():
            setattr(self, name, check_number(name, value, least=1, integer=True))
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or any(side < patch or side % patch for side in sides):
            raise wrong("size", f"one or two multiples of patch = {patch}", size)
        if not modes or set(modes) - set("PD"):
            raise wrong("modes", "letters P and D, one a layer of a block", repr(modes))
        self.size, self.heads, self.modes = size, heads, modes
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.position, self.drop_path, self.layer_scale = bool(position), float(drop_path), layer_scale
        self.variant, self.small_gates, self.backend = variant, small_gates, backend
        self.embed = nn.Conv2d(channels, dim, patch, patch)
        rows, columns = (side // patch for side in sides)
        self.positions = nn.Parameter(torch.empty(rows, columns, dim)) if position else None
        how: dict[str, Any] = {"variant": variant, "small_gates": small_gates, "backend": backend}
        self.layers = nn.ModuleList(
            PostUpBlock(dim, PLSTM2d(dim, heads, mode, **how), drop=drop_path, layer_scale=layer_scale)
            for mode in depth * modes
        )
        self.norm = nn.RMSNorm(dim, EPS)
        self.cls = nn.Parameter(torch.empty(dim)) if pooling == "cls" else None
        self.head = nn.Linear(4 * dim if pooling == "corners" else dim, classes)
        self.reset_parameters()

    classes: int
    dim: int
    depth: int
    patch: int
    channels: int

    @classmethod
    def tiny(cls, classes: int = 1000, **changes: Any) -> Self:
        """Width 192, 3 heads, 12 layers."""
        return cls(classes, **PRESETS["tiny"] | changes)

    @classmethod
    def small(cls, classes: int = 1000, **changes: Any) -> Self:
        """Width 384, 6 heads, 12 layers, drop path 0.05."""
        return cls(classes, **PRESETS["small"] | changes)

    @classmethod
    def base(cls, classes: int = 1000, **changes: Any) -> Self:
        """Width 768, 12 heads, 12 layers, drop path 0.1."""
        return cls(classes, **PRESETS["base"] | changes)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """SmallInit, in the patches' map with `dim` as its fan; the head nearly zero, so that all classes start alike."""
        with torch.no_grad():
            self.embed.weight.normal_(0.0, (2 / (5 * self.dim)) ** 0.5, generator=generator)
            nn.init.zeros_(self.embed.bias)  # type: ignore[arg-type]
            if self.positions is not None:
                nn.init.trunc_normal_(self.positions, std=POSITION_DEVIATION, generator=generator)
            for layer in self.layers:
                layer.reset_parameters(generator)  # type: ignore[operator]
            nn.init.ones_(self.norm.weight)
            if self.cls is not None:
                small_init_(self.cls, generator)
            deviation = HEAD_DEVIATION
            nn.init.trunc_normal_(
                self.head.weight, std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator
            )
            nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        """What every patch knows after the last layer, ``(B, H / patch, W / patch, dim)``."""
        self._check(images)
        x = self.embed(images).movedim(1, -1)
        if self.positions is not None:
            x = x + resized(self.positions, (x.shape[1], x.shape[2])).to(x.dtype)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(pool(self.features(images), self.pooling, self.cls))

    def _check(self, images: Tensor) -> None:
        want = f"images (B, {self.channels}, H, W)"
        if not isinstance(images, Tensor) or not images.is_floating_point():
            raise wrong("images", f"a tensor of floating point numbers, {want}", images, error=TypeError)
        if images.dim() != 4 or images.shape[1] != self.channels:
            raise wrong("images", want, tuple(images.shape))
        if any(side < self.patch or side % self.patch for side in images.shape[2:]):
            got = tuple(images.shape[2:])
            raise wrong(
                "images", f"sides that are multiples of patch = {self.patch}", got, "crop or resize them"
            )

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that rebuild this model."""
        names = (
            "classes", "dim", "heads", "depth", "modes", "patch", "size", "channels", "pooling", "position",
            "drop_path", "layer_scale", "variant", "small_gates", "backend",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        return words(self, **self.config)
