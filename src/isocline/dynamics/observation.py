"""From latent states to observations, and back: ``x = G(z)``, the forcing signal and the initial state.

Forcing signals are constants and carry no gradient; the initial state is computed under autograd, so that the
observation model learns through it. Source: Hess et al. 2023, section 3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .._core.checks import check_number, wrong
from .penalties import condition_penalty


class IdentityObservation(nn.Module):
    """``x`` is the first N of M states. The other M - N start at ``lift @ x_0`` and are never forced.

    ``lift`` ``(M - N, N)`` is learned; there is none when M = N.

    >>> IdentityObservation(2, 3)
    IdentityObservation(2, 3)
    """

    lift: Tensor | None

    def __init__(self, observed_dim: int, latent_dim: int | None = None) -> None:
        super().__init__()
        self.observed_dim = int(check_number("observed_dim", observed_dim, least=1, integer=True))
        self.latent_dim = int(latent_dim or observed_dim)
        if self.latent_dim < self.observed_dim:
            raise wrong(
                "latent_dim",
                f"at least the {self.observed_dim} observed channels",
                self.latent_dim,
                "take a larger latent_dim, or the affine observation",
            )
        hidden = self.latent_dim - self.observed_dim
        self.register_parameter("lift", nn.Parameter(torch.empty(hidden, observed_dim)) if hidden else None)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Glorot uniform."""
        if self.lift is not None:
            nn.init.xavier_uniform_(self.lift, generator=generator)

    def forward(self, z: Tensor) -> Tensor:
        """Shapes: z ``(..., M)``; returns ``(..., N)``."""
        return z[..., : self.observed_dim]

    def initial_state(self, x: Tensor) -> Tensor:
        """``[x; lift x]``. Shapes: x ``(..., N)``; returns ``(..., M)``."""
        return x if self.lift is None else torch.cat([x, linear(x, self.lift)], dim=-1)

    def forcing(self, x: Tensor) -> Tensor:
        """The signal for the first N states: x itself, a constant. Shapes: ``(..., N)``, NaN = missing."""
        return x.detach()

    def penalty(self) -> Tensor:
        """``sum lift^2``, a scalar."""
        return torch.zeros(()) if self.lift is None else self.lift.square().sum()

    def extra_repr(self) -> str:
        return f"{self.observed_dim}, {self.latent_dim}"


class AffineObservation(nn.Module):
    """``x = B z + b``; back by the pseudo-inverse, so N may be below, at or above M. ``bias=False``: b = 0.

    >>> AffineObservation(64, 16)
    AffineObservation(64, 16, bias=False)
    """

    b: Tensor | None

    def __init__(self, observed_dim: int, latent_dim: int, bias: bool = False) -> None:
        super().__init__()
        self.observed_dim = int(check_number("observed_dim", observed_dim, least=1, integer=True))
        self.latent_dim = int(check_number("latent_dim", latent_dim, least=1, integer=True))
        self.B = nn.Parameter(torch.empty(self.observed_dim, self.latent_dim))
        self.register_parameter("b", nn.Parameter(torch.empty(self.observed_dim)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """B normal with standard deviation sqrt(2 / M), b = 0."""
        nn.init.normal_(self.B, std=math.sqrt(2 / self.latent_dim), generator=generator)
        if self.b is not None:
            nn.init.zeros_(self.b)

    def forward(self, z: Tensor) -> Tensor:
        """Shapes: z ``(..., M)``; returns ``(..., N)``."""
        return linear(z, self.B, self.b)

    def initial_state(self, x: Tensor) -> Tensor:
        """``pinv(B) (x - b)``, differentiable in B and b. Shapes: x ``(..., N)``; returns ``(..., M)``."""
        return linear(x if self.b is None else x - self.b, torch.linalg.pinv(self.B))

    @torch.no_grad()
    def forcing(self, x: Tensor) -> Tensor:
        """``pinv(B) (x - b)`` as a constant.

        Shapes: x ``(..., N)``; a NaN in x makes its whole row missing.
        """
        return self.initial_state(x)

    def penalty(self) -> Tensor:
        """``(1 - s_max / s_min)^2`` of B, a scalar; see ``condition_penalty``."""
        return condition_penalty(self.B)

    def extra_repr(self) -> str:
        return f"{self.observed_dim}, {self.latent_dim}, bias={self.b is not None}"
