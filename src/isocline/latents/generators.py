"""Between a person's generator and an edit: codes in, images in [0, 1] out. Nothing here reads a file or unpickles one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice, check_finite, check_number, wrong
from isocline._core.rest import at_rest

SPACES = ("z", "w", "w+")
RANGES = ((0.0, 1.0), (-1.0, 1.0))


@runtime_checkable
class Generator(Protocol):
    """What an edit needs of a generator. The adapters of this file have it; anything that has it will do."""

    width: int  # D, of a code in `space`
    space: str  # "z", "w", or "w+": the space in which codes live

    def sample(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Codes as the generator's prior draws them, ``(count, D)``."""
        ...

    def render(
        self, codes: Tensor, *, original: Tensor | None = None, layers: tuple[int, int] | None = None
    ) -> Tensor:
        """Images in [0, 1] of ``codes (N, D)``; with `layers`, the rest of the layers see the `original` codes."""
        ...


class ModuleGenerator:
    """A decoder ``code (N, latent_dim) -> image``: the generator of a VAE, a flow, or a GAN without a mapping.

    output_range: (0, 1) or (-1, 1), what the module's images span; it has to be said. The prior is standard normal unless
    ``prior(count, generator)`` draws codes otherwise.
    """

    space = "z"

    def __init__(
        self,
        module: nn.Module | Callable[[Tensor], Tensor],
        latent_dim: int,
        *,
        output_range: tuple[float, float] | None = None,
        prior: Callable[[int, torch.Generator], Tensor] | None = None,
    ) -> None:
        self.module = module
        self.width = check_number("latent_dim", latent_dim, least=1, integer=True)
        self.output_range = _range(output_range)
        self.prior = prior

    def sample(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Codes ``(count, latent_dim)`` of the prior."""
        if self.prior is not None:
            return self.prior(count, generator)
        return _normal(count, self.width, self.module, generator)

    def render(
        self, codes: Tensor, *, original: Tensor | None = None, layers: tuple[int, int] | None = None
    ) -> Tensor:
        """Images in [0, 1], ``(N, C, H, W)``. Raises: ValueError with `layers`, which a plain module has not."""
        if layers is not None:
            raise wrong("layers", "None: this generator has no layers", layers, 'use space "w+" of StyleGAN')
        _check_codes(codes, self.width)
        with torch.no_grad(), at_rest(self.module):
            return _images(self.module(codes), self.output_range)

    def style_weights(self) -> list[Tensor]:
        """The module's own ``style_weights()``, for SeFa. Raises: ValueError where it has none."""
        return _style_weights(self.module)


class MappingSynthesis:
    """A pair ``mapping: z -> w`` and ``synthesis: w -> image``, edited in w (default) or in z.

    truncation: psi in (0, 1], how far codes stay from the mean ``w_avg``, which is estimated from 10,000 codes unless given.
    """

    def __init__(
        self,
        mapping: nn.Module | Callable[[Tensor], Tensor],
        synthesis: nn.Module | Callable[[Tensor], Tensor],
        latent_dim: int,
        *,
        output_range: tuple[float, float] | None = None,
        space: str = "w",
        truncation: float = 1.0,
        w_avg: Tensor | None = None,
    ) -> None:
        self.mapping, self.synthesis = mapping, synthesis
        self.latent_dim = check_number("latent_dim", latent_dim, least=1, integer=True)
        self.output_range = _range(output_range)
        self.space = check_choice("space", space, SPACES[:2])
        self.truncation = check_number("truncation", truncation, above=0, most=1)
        drawn = self._mapped(_normal(10_000, latent_dim, mapping, torch.Generator().manual_seed(0)))
        self.w_avg = drawn.mean(0) if w_avg is None else w_avg
        self.width = drawn.shape[1] if space == "w" else self.latent_dim

    def sample(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Codes ``(count, D)``: z of the prior, or what it is mapped to, pulled towards the mean."""
        z = _normal(count, self.latent_dim, self.mapping, generator)
        return z if self.space == "z" else self._truncated(self._mapped(z))

    def render(
        self, codes: Tensor, *, original: Tensor | None = None, layers: tuple[int, int] | None = None
    ) -> Tensor:
        """Images in [0, 1], ``(N, C, H, W)``. Raises: ValueError with `layers`."""
        if layers is not None:
            raise wrong("layers", "None: this generator takes one w", layers, 'use space "w+" of StyleGAN')
        _check_codes(codes, self.width)
        with torch.no_grad(), at_rest(self.synthesis):
            w = codes if self.space == "w" else self._truncated(self._mapped(codes))
            return _images(self.synthesis(w), self.output_range)

    def style_weights(self) -> list[Tensor]:
        """The synthesis's own ``style_weights()``, for SeFa. Raises: ValueError where it has none, or in z."""
        if self.space == "z":
            raise wrong("space", "'w', where styles are affine in the code", "'z'")
        return _style_weights(self.synthesis)

    def _mapped(self, z: Tensor) -> Tensor:
        with torch.no_grad(), at_rest(self.mapping):
            return self.mapping(z)

    def _truncated(self, w: Tensor) -> Tensor:
        return torch.lerp(self.w_avg.to(w), w, self.truncation)


class StyleGAN:
    """A StyleGAN2-ADA or StyleGAN3 generator that you have loaded already: `mapping`, `synthesis`, `num_ws`, `mapping.w_avg`.

    Such files are pickles, and loading one runs its code: do that yourself, with files you trust. Codes are single w vectors
    (space "w" and "w+", the latter with a range of layers when rendering) or z. Images are [-1, 1] by this family's convention.
    c: the label ``(1, c_dim)`` of a conditional generator.
    """

    def __init__(
        self, network: Any, *, space: str = "w", truncation: float = 1.0, c: Tensor | None = None
    ) -> None:
        missing = [name for name in ("mapping", "synthesis", "num_ws", "z_dim") if not hasattr(network, name)]
        if missing:
            raise wrong("network", "mapping, synthesis, num_ws and z_dim", f"none of {', '.join(missing)}")
        if getattr(network, "c_dim", 0) and c is None:
            raise wrong("c", f"a label of shape (1, {network.c_dim}) for a conditional generator", "None")
        self.network = network
        self.space = check_choice("space", space, SPACES)
        self.truncation = check_number("truncation", truncation, least=0, most=1)
        self.c = c
        self.layers = int(network.num_ws)
        self.width = int(network.z_dim if space == "z" else getattr(network, "w_dim", network.z_dim))

    def sample(self, count: int, *, generator: torch.Generator) -> Tensor:
        """Codes ``(count, D)``: z of the prior, or the w it is mapped to, pulled towards `w_avg` by `truncation`."""
        z = _normal(count, int(self.network.z_dim), self.network.mapping, generator)
        return z if self.space == "z" else self._mapped(z)[:, 0]

    def render(
        self, codes: Tensor, *, original: Tensor | None = None, layers: tuple[int, int] | None = None
    ) -> Tensor:
        """Images in [0, 1]. With ``layers=(lo, hi)`` only those see `codes`, all others the `original` ones.

        Raises: ValueError for layers in a space other than "w+", outside 0..num_ws, or without the original codes.
        """
        _check_codes(codes, self.width)
        with torch.no_grad(), at_rest(self.network):
            ws = self._mapped(codes) if self.space == "z" else codes[:, None].expand(-1, self.layers, -1)
            if layers is not None:
                ws = self._in_layers(ws, original, layers)
            return _images(
                self.network.synthesis(ws.contiguous(), noise_mode="const", force_fp32=True), (-1.0, 1.0)
            )

    def style_weights(self) -> list[Tensor]:
        """Weights ``(out, w_dim)`` of every style's affine map: the network's own, or all modules named ``affine``."""
        if hasattr(self.network, "style_weights"):
            return _style_weights(self.network)
        named = self.network.synthesis.named_modules()
        found = [module.weight.detach() for name, module in named if name.endswith("affine")]
        if not found:
            raise wrong("network", "affine maps of styles", "none", "give SeFa the weights themselves")
        return found

    def _mapped(self, z: Tensor) -> Tensor:
        c = None if self.c is None else self.c.to(z).expand(len(z), -1)
        with torch.no_grad(), at_rest(self.network):
            return self.network.mapping(z, c, truncation_psi=self.truncation)

    def _in_layers(self, ws: Tensor, original: Tensor | None, layers: tuple[int, int]) -> Tensor:
        lo, hi = layers
        if self.space != "w+":
            raise wrong("layers", "None, or a generator with space='w+'", f"{layers} with {self.space!r}")
        if not 0 <= lo < hi <= self.layers:
            raise wrong("layers", f"(lo, hi) with 0 <= lo < hi <= {self.layers}", f"{layers}")
        if original is None:
            raise wrong("original", "the codes before the edit, for the other layers", "None")
        mixed = original[:, None].expand(-1, self.layers, -1).clone()
        mixed[:, lo:hi] = ws[:, lo:hi]
        return mixed


def _range(given: tuple[float, float] | None) -> tuple[float, float]:
    if given is None or tuple(map(float, given)) not in RANGES:
        raise wrong(
            "output_range",
            "(0, 1) or (-1, 1), what the generator's images span",
            f"{given}",
            "say which: a wrong guess would show, and score, other images",
        )
    return tuple(map(float, given))  # type: ignore[return-value]


def _images(raw: Any, span: tuple[float, float]) -> Tensor:
    if not isinstance(raw, Tensor):
        raise wrong("generator", "a tensor of images", type(raw).__name__, error=TypeError)
    check_finite("the generator's images", raw)
    low, high = span
    return ((raw - low) / (high - low)).clamp(0, 1)


def _check_codes(codes: Tensor, width: int) -> None:
    if codes.ndim != 2 or codes.shape[1] != width:
        raise wrong("codes", f"(N, {width})", f"{tuple(codes.shape)}", "one code a row")


def _normal(count: int, width: int, module: object, generator: torch.Generator) -> Tensor:
    check_number("count", count, least=1, integer=True)
    like = next(module.parameters(), torch.empty(0)) if isinstance(module, nn.Module) else torch.empty(0)
    return torch.randn(count, width, generator=generator, dtype=like.dtype).to(like.device)


def _style_weights(module: Any) -> list[Tensor]:
    if not hasattr(module, "style_weights"):
        raise wrong("generator", "a module with style_weights() -> list of (out, D)", type(module).__name__)
    return [weight.detach() for weight in module.style_weights()]
