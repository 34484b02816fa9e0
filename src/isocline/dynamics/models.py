"""The models as modules: parameters, their reference initialisation, one step, its Jacobian and the free run.

Every model is ``z -> F(z) + C s`` with an optional external input s: ``forward(z, s)`` is one step,
``jacobian(z)`` its derivative, ``generate(z0, steps)`` the free run. The formulas are in ``maps``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .._core.checks import check_number, wrong
from . import maps
from .forcing import forced_rollout


class _Model(nn.Module):
    """What all maps share: the input matrix C and the free run."""

    C: Tensor | None

    def __init__(self, latent_dim: int, input_dim: int) -> None:
        super().__init__()
        self.latent_dim = int(check_number("latent_dim", latent_dim, least=1, integer=True))
        self.input_dim = int(check_number("input_dim", input_dim, least=0, integer=True))
        shape = (self.latent_dim, self.input_dim)
        self.register_parameter("C", nn.Parameter(torch.empty(shape)) if self.input_dim else None)

    def _reset_input(self, generator: torch.Generator | None) -> None:
        if self.C is not None:
            nn.init.xavier_uniform_(self.C, generator=generator)

    def _driven(self, z: Tensor, s: Tensor | None) -> Tensor:
        if (s is None) != (self.C is None):
            want = f"(..., {self.input_dim})" if self.input_dim else "None: the model has no inputs"
            raise wrong("s", want, "None" if s is None else s, f"input_dim is {self.input_dim}")
        return z if self.C is None or s is None else z + nn.functional.linear(s, self.C)

    @torch.no_grad()
    def generate(self, z0: Tensor, steps: int, inputs: Tensor | None = None) -> Tensor:
        """The free run ``z_1 .. z_steps`` from z0, without gradients.

        Shapes: z0 ``(..., M)``; inputs ``(steps, ..., K)``; returns ``(steps, ..., M)``.
        """
        steps = self._checked_run(z0, steps, inputs)
        states = z0.new_empty(steps, *z0.shape)
        z = z0
        for t in range(steps):
            z = states[t] = self(z, None if inputs is None else inputs[t])
        return states

    def _checked_run(self, z0: Tensor, steps: int, inputs: Tensor | None) -> int:
        steps = int(check_number("steps", steps, least=1, integer=True))
        if z0.dim() == 0 or z0.shape[-1] != self.latent_dim:
            raise wrong("z0", f"(..., {self.latent_dim})", tuple(z0.shape), "the last axis is the state")
        want = (steps, *z0.shape[:-1], self.input_dim)
        if (inputs is None) != (self.C is None) or (inputs is not None and inputs.shape != want):
            shown = "None" if inputs is None else tuple(inputs.shape)
            raise wrong("inputs", f"{want}" if self.input_dim else "None", shown, "one row per step")
        return steps


class _Coupled(_Model):
    """What all maps but the shallow ones share: A, h and one square matrix W with zero diagonal."""

    off_diagonal: Tensor

    def __init__(self, latent_dim: int, input_dim: int) -> None:
        super().__init__(latent_dim, input_dim)
        M = self.latent_dim
        self.A = nn.Parameter(torch.empty(M))
        self.W = nn.Parameter(torch.empty(M, M))
        self.h = nn.Parameter(torch.empty(M))
        self.register_buffer("off_diagonal", 1 - torch.eye(M), persistent=False)

    @property
    def coupling(self) -> Tensor:
        """W as it is used: its diagonal is 0 and gets no gradient."""
        return self.W * self.off_diagonal

    @torch.no_grad()
    def _reset_coupling(self, generator: torch.Generator | None) -> None:
        K = _stable_matrix(self.A, generator)
        self.A.copy_(K.diagonal())
        self.W.copy_(K - K.diagonal().diag())
        self.h.zero_()
        self._reset_input(generator)


class PLRNN(_Coupled):
    """``A z + W relu(z) + h + C s``, W with zero diagonal; ``mean_centred``: relu of z minus its mean."""

    def __init__(self, latent_dim: int, *, mean_centred: bool = False, input_dim: int = 0) -> None:
        super().__init__(latent_dim, input_dim)
        self.mean_centred = mean_centred
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """A, W from a random positive definite matrix of norm 1, h = 0."""
        self._reset_coupling(generator)

    def forward(self, z: Tensor, s: Tensor | None = None) -> Tensor:
        step = maps.mean_centred_plrnn if self.mean_centred else maps.plrnn
        return self._driven(step(z, self.A, self.coupling, self.h), s)

    def jacobian(self, z: Tensor) -> Tensor:
        """Shapes: z ``(..., M)``; returns ``(..., M, M)``, row = output."""
        slope = maps.mean_centred_plrnn_jacobian if self.mean_centred else maps.plrnn_jacobian
        return slope(z, self.A, self.coupling)

    def extra_repr(self) -> str:
        return f"{self.latent_dim}, mean_centred={self.mean_centred}, input_dim={self.input_dim}"


class DendriticPLRNN(_Coupled):
    """``A z + W sum_b a_b relu(z - H_b) + h + C s``, ``bases`` thresholds a state (Brenner et al. 2022)."""

    def __init__(self, latent_dim: int, bases: int, *, clipped: bool = False, input_dim: int = 0) -> None:
        super().__init__(latent_dim, input_dim)
        self.bases = int(check_number("bases", bases, least=1, integer=True))
        self.clipped = clipped
        self.slopes = nn.Parameter(torch.empty(self.bases))
        self.thresholds = nn.Parameter(torch.empty(self.latent_dim, self.bases))
        self.reset_parameters()

    def reset_parameters(
        self, generator: torch.Generator | None = None, data_range: tuple[float, float] | None = None
    ) -> None:
        """Thresholds uniform in ``data_range`` (the smallest and largest value observed), else normal."""
        self._reset_coupling(generator)
        _uniform(self.slopes, generator)
        if data_range is None:
            nn.init.normal_(self.thresholds, generator=generator)
        else:
            nn.init.uniform_(self.thresholds, *data_range, generator=generator)

    def forward(self, z: Tensor, s: Tensor | None = None) -> Tensor:
        weights = (self.A, self.coupling, self.h, self.slopes, self.thresholds)
        return self._driven(maps.dendritic_plrnn(z, *weights, clipped=self.clipped), s)

    def jacobian(self, z: Tensor) -> Tensor:
        """Shapes: z ``(..., M)``; returns ``(..., M, M)``, row = output."""
        weights = (self.A, self.coupling, self.slopes, self.thresholds)
        return maps.dendritic_plrnn_jacobian(z, *weights, clipped=self.clipped)

    def extra_repr(self) -> str:
        return f"{self.latent_dim}, {self.bases}, clipped={self.clipped}, input_dim={self.input_dim}"


class AlmostLinearRNN(_Coupled):
    """``A z + W [z_1 .. z_{M-P}, relu(z_{M-P+1} .. z_M)] + h + C s``: P = ``relu_units`` bent states."""

    def __init__(self, latent_dim: int, relu_units: int, *, input_dim: int = 0) -> None:
        super().__init__(latent_dim, input_dim)
        most = self.latent_dim
        self.relu_units = int(check_number("relu_units", relu_units, least=0, most=most, integer=True))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """As for the PLRNN."""
        self._reset_coupling(generator)

    def forward(self, z: Tensor, s: Tensor | None = None) -> Tensor:
        step = maps.almost_linear_rnn(z, self.A, self.coupling, self.h, relu_units=self.relu_units)
        return self._driven(step, s)

    def jacobian(self, z: Tensor) -> Tensor:
        """Shapes: z ``(..., M)``; returns ``(..., M, M)``, row = output."""
        return maps.almost_linear_rnn_jacobian(z, self.A, self.coupling, relu_units=self.relu_units)

    def extra_repr(self) -> str:
        return f"{self.latent_dim}, {self.relu_units}, input_dim={self.input_dim}"


class ShallowPLRNN(_Model):
    """``A z + W1 [relu(W2 z + h2) - relu(W2 z)] + h1 + C s``; not clipped: ``relu(W2 z + h2)`` alone.

    Parameters: ``2M + 2ML + L`` and MK for the inputs.

    >>> ShallowPLRNN(3, 50)
    ShallowPLRNN(3, 50, clipped=True, input_dim=0)
    """

    def __init__(self, latent_dim: int, hidden_dim: int, clipped: bool = True, input_dim: int = 0) -> None:
        super().__init__(latent_dim, input_dim)
        self.hidden_dim = int(check_number("hidden_dim", hidden_dim, least=1, integer=True))
        self.clipped = clipped
        M, L = self.latent_dim, self.hidden_dim
        self.A = nn.Parameter(torch.empty(M))
        self.W1 = nn.Parameter(torch.empty(M, L))
        self.W2 = nn.Parameter(torch.empty(L, M))
        self.h1 = nn.Parameter(torch.empty(M))
        self.h2 = nn.Parameter(torch.empty(L))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """A as in the PLRNN; W1, W2 uniform; h1 = 0; h2 uniform when clipped (see the map), else 0."""
        with torch.no_grad():
            self.A.copy_(_stable_matrix(self.A, generator).diagonal())
            self.h1.zero_()
            self.h2.zero_()
        _uniform(self.W1, generator)
        _uniform(self.W2, generator)
        if self.clipped:
            _uniform(self.h2, generator)
        self._reset_input(generator)

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """A, W1, W2, h1, h2: the first arguments of ``forced_rollout``."""
        return self.A, self.W1, self.W2, self.h1, self.h2

    def forward(self, z: Tensor, s: Tensor | None = None) -> Tensor:
        return self._driven(maps.shallow_plrnn(z, *self.weights(), clipped=self.clipped), s)

    def jacobian(self, z: Tensor) -> Tensor:
        """Shapes: z ``(..., M)``; returns ``(..., M, M)``, row = output."""
        return maps.shallow_plrnn_jacobian(z, self.A, self.W1, self.W2, self.h2, clipped=self.clipped)

    @torch.no_grad()
    def generate(self, z0: Tensor, steps: int, inputs: Tensor | None = None) -> Tensor:
        """The free run ``z_1 .. z_steps`` from z0, without gradients: the forced rollout at alpha = 0.

        Shapes: z0 ``(..., M)``; inputs ``(steps, ..., K)``; returns ``(steps, ..., M)``.
        """
        steps = self._checked_run(z0, steps, inputs)
        start = z0.reshape(-1, self.latent_dim)
        nothing = start.new_zeros(1, 1, 1).expand(steps, len(start), 1)
        driven = None if inputs is None else inputs.reshape(steps, len(start), self.input_dim)
        states = forced_rollout(
            *self.weights(), start, nothing, 0.0, clipped=self.clipped, C=self.C, inputs=driven
        )
        return states.reshape(steps, *z0.shape)

    def extra_repr(self) -> str:
        return f"{self.latent_dim}, {self.hidden_dim}, clipped={self.clipped}, input_dim={self.input_dim}"


def _stable_matrix(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """``R^T R / M + I`` over its largest eigenvalue, R normal ``(M, M)``: eigenvalues in (0, 1]."""
    M = like.shape[0]
    R = torch.empty(M, M, dtype=like.dtype, device=like.device).normal_(generator=generator)
    K = R.mT @ R / M + torch.eye(M, dtype=like.dtype, device=like.device)
    return K / torch.linalg.matrix_norm(K, 2)


def _uniform(parameter: Tensor, generator: torch.Generator | None) -> None:
    """Uniform within 1 / sqrt(d), d the last dimension of the array."""
    bound = 1 / math.sqrt(parameter.shape[-1])
    nn.init.uniform_(parameter, -bound, bound, generator=generator)
