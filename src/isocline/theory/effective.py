"""`EffectiveTheory`: one network architecture, and everything the theory says about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import inf

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isocline._core.checks import check_choice, check_number, wrong
from isocline.theory.activation import Activation, as_activation
from isocline.theory.averages import single_averages
from isocline.theory.critical import Criticality, criticality
from isocline.theory.depth import largest_depth
from isocline.theory.feature import KernelChange, kernel_change
from isocline.theory.kernel import first_kernel, many_input
from isocline.theory.rates import equivalence_rates
from isocline.theory.report import Report, make_report
from isocline.theory.single import SingleInput, kernel_sequence, per_layer, single_input
from isocline.theory.training import Prediction, gradient_flow

Array = npt.NDArray[np.float64]


class EffectiveTheory:
    """A deep multilayer perceptron ``z' = b + W s(z) + skip z``, its signal, its neural tangent kernel, and their
    fluctuations.

    `depth` counts the layers of weights; `width` is that of the hidden layers, one number or ``depth - 1`` of
    them. Biases have the variance `bias_variance` (C_b), weights ``weight_variance / fan-in`` (C_W / fan-in);
    without them, those of criticality. `lambda_b` and ``lambda_w / fan-in`` are relative learning rates, one
    number or one a layer; without them, those of the equivalence principle. Raises ValueError or TypeError
    for what is none of this.

    >>> theory = EffectiveTheory("tanh", depth=20, width=256)
    >>> theory.weight_variance, theory.largest_depth()
    (1.0, 33)
    """

    def __init__(
        self,
        activation: str | Callable[[Tensor], Tensor] | Activation,
        depth: int,
        width: int | Sequence[int],
        bias_variance: float | None = None,
        weight_variance: float | None = None,
        skip: float = 0.0,
        lambda_b: float | npt.ArrayLike | None = None,
        lambda_w: float | npt.ArrayLike | None = None,
        *,
        residual_vertex: str = "full",
    ) -> None:
        self.activation = as_activation(activation)
        self.depth = int(check_number("depth", depth, least=1, integer=True))
        self.widths = _checked_widths(width, self.depth)
        self.skip = float(check_number("skip", skip, least=0, below=1))
        self.residual_vertex = check_choice("residual_vertex", residual_vertex, ("full", "quartic"))
        if self.skip and len(set(self.widths)) > 1:
            raise wrong("width", "one width for all layers with a skip", width)
        keep = 1 - self.skip**2
        if bias_variance is None:
            bias_variance = keep * self.criticality.bias_variance
        if weight_variance is None:
            weight_variance = keep * self.criticality.weight_variance
        self.bias_variance = float(check_number("bias_variance", bias_variance, least=0))
        self.weight_variance = float(check_number("weight_variance", weight_variance, above=0))
        self.critical = self.criticality.exists and bool(
            np.isclose(self.bias_variance, keep * self.criticality.bias_variance, rtol=1e-6, atol=1e-12)
            and np.isclose(self.weight_variance, keep * self.criticality.weight_variance, rtol=1e-6)
        )
        if lambda_b is None or lambda_w is None:
            rates = self._equivalence_rates()
            lambda_b = rates[0] if lambda_b is None else lambda_b
            lambda_w = rates[1] if lambda_w is None else lambda_w
        self.lambda_b = per_layer("lambda_b", lambda_b, self.depth)
        self.lambda_w = per_layer("lambda_w", lambda_w, self.depth)

    def __repr__(self) -> str:
        width = self.widths[0] if len(set(self.widths)) == 1 else list(self.widths)
        skip = f", skip={self.skip:g}" if self.skip else ""
        return (
            f"EffectiveTheory({self.activation.name!r}, depth={self.depth}, width={width}, "
            f"bias_variance={self.bias_variance:.6g}, weight_variance={self.weight_variance:.6g}{skip})"
        )

    @cached_property
    def criticality(self) -> Criticality:
        """The critical point of the activation."""
        return criticality(self.activation)

    @property
    def nominal_kernel(self) -> float:
        """The K of layer 1 that is taken where none is given: K*, or 1, or that of inputs with mean square 1."""
        K = self.criticality.first_kernel
        return K if self.bias_variance < K else self.bias_variance + self.weight_variance

    @property
    def width_before(self) -> Array:
        """``(depth,)`` the width that divides the coefficients of each layer, that of the layer before."""
        return np.array([self.widths[0], *self.widths], np.float64)[: self.depth]

    def single_input(self, K1: float | None = None) -> SingleInput:
        """Every coefficient for one input whose preactivations in layer 1 have variance `K1`, the nominal one if not
        given.
        """
        ratio = np.ones(self.depth)
        ratio[: len(self.widths)] = np.array(self.widths) / self.width_before[: len(self.widths)]
        return single_input(
            self.activation,
            self.depth,
            self.nominal_kernel if K1 is None else K1,
            self.bias_variance,
            self.weight_variance,
            self.lambda_b,
            self.lambda_w,
            skip=self.skip,
            width_ratio=1.0 if self.skip else ratio,
            residual_vertex=self.residual_vertex,
        )

    def kernel(self, x: npt.ArrayLike | Tensor, *, layer: int | None = None) -> Array:
        """The kernel ``(N, N)`` of inputs ``(N, n_0)`` at `layer`, the last if not given: the covariance
        of a random network's output.
        """
        return self._both(x, layer)[0]

    def ntk(self, x: npt.ArrayLike | Tensor, *, layer: int | None = None) -> Array:
        """The neural tangent kernel ``(N, N)`` of inputs ``(N, n_0)`` at `layer`, the last if not given."""
        return self._both(x, layer)[1]

    def predict(
        self,
        x_train: npt.ArrayLike | Tensor,
        y_train: npt.ArrayLike,
        x_test: npt.ArrayLike | Tensor,
        t: float = inf,
        *,
        learning_rate: float = 1.0,
    ) -> Prediction:
        """What infinitely wide networks predict at `x_test` after gradient flow for a time `t` on
        ``(1/2) sum |z - y|^2``.
        """
        rows = [
            np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x, np.float64)
            for x in (x_train, x_test)
        ]
        if rows[0].ndim != 2 or rows[1].ndim != 2 or rows[0].shape[1] != rows[1].shape[1]:
            raise wrong("x_test", f"rows as long as those of x_train, {rows[0].shape}", rows[1])
        K, Theta = self._both(np.concatenate(rows), None)
        if len(np.asarray(y_train)) != len(rows[0]):
            raise wrong(
                "y_train", f"one row for each of {len(rows[0])} inputs", f"{len(np.asarray(y_train))}"
            )
        return gradient_flow(K, Theta, y_train, t, learning_rate=learning_rate)

    def largest_learning_rate(self, x: npt.ArrayLike | Tensor) -> float:
        """``2 / lambda_max(Theta)`` over the batch `x`: gradient descent on the summed loss diverges
        above. Source: PDLT chapter 10.
        """
        return 2 / float(np.linalg.eigvalsh(self.ntk(x))[-1])

    def kernel_change(
        self, K1: float | None = None, *, outputs: int = 1, target: float = 1.0, t: float = inf
    ) -> KernelChange:
        """How far gradient flow on one example moves the NTK: the indicator of feature learning, of the order depth
        over width.

        Raises NotImplementedError with a residual connection, for which the differentials of the NTK are not
        known.
        """
        if self.skip:
            raise NotImplementedError(
                "kernel_change: the NTK's fluctuations with residual connections are not known; take skip=0"
            )
        check_number("outputs", outputs, least=1, integer=True)
        check_number("t", t, least=0, finite=False)
        return kernel_change(
            self.single_input(K1),
            self.width_before[-1],
            outputs=outputs,
            target=check_number("target", target),
            t=t,
        )

    def largest_depth(self, outputs: int = 10, K1: float | None = None) -> float:
        """The last layer at which ``V / (n K^2)`` is below v*, with these variances and the first layer's
        width; inf if never above.
        """
        return largest_depth(
            self.activation,
            self.widths[0],
            outputs=outputs,
            skip=self.skip,
            K1=self.nominal_kernel if K1 is None else K1,
            bias_variance=self.bias_variance,
            weight_variance=self.weight_variance,
            residual_vertex=self.residual_vertex,
        )

    def report(self, outputs: int = 10, K1: float | None = None) -> Report:
        """Class, variances, every quantity by layer, the verdict on depth and width, and what to be warned of."""
        return make_report(self, outputs, self.nominal_kernel if K1 is None else K1)

    def _both(self, x: npt.ArrayLike | Tensor, layer: int | None) -> tuple[Array, Array]:
        at = (
            self.depth
            if layer is None
            else int(check_number("layer", layer, least=1, most=self.depth, integer=True))
        )
        K1 = first_kernel(x, self.bias_variance, self.weight_variance)
        settings = (self.bias_variance, self.weight_variance, self.lambda_b, self.lambda_w)
        found = many_input(self.activation, self.depth, K1, *settings, skip=self.skip, layers=[at])
        return found.K[0], found.Theta[0]

    def _equivalence_rates(self) -> tuple[Array, Array]:
        K1, C_b, C_W = self.nominal_kernel, self.bias_variance, self.weight_variance
        K = kernel_sequence(self.activation, self.depth, K1, C_b, C_W, self.skip)
        averages = single_averages(self.activation, K)
        decays = self.critical and self.criticality.universality_class == "K*=0"
        return equivalence_rates(averages, K1, C_b, C_W, skip=self.skip, decays=decays)


def _checked_widths(width: int | Sequence[int], depth: int) -> tuple[int, ...]:
    if (
        isinstance(width, (int, np.integer))
        or not isinstance(width, (Sequence, np.ndarray))
        or isinstance(width, str)
    ):
        return (int(check_number("width", width, least=1, integer=True)),) * max(1, depth - 1)
    if len(width) != max(1, depth - 1):
        raise wrong(
            "width",
            f"one number, or the {max(1, depth - 1)} widths of the hidden layers",
            f"{len(width)} of them",
        )
    return tuple(int(check_number(f"width[{i}]", n, least=1, integer=True)) for i, n in enumerate(width))
