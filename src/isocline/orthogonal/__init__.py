r"""Through filters: convolutions that are really orthogonal, and the truth about the singular values of any.

>>> from isocline.orthogonal import exists
>>> shortcut = exists((128, 64, 1, 2))
>>> bool(shortcut), shortcut.remedy
(False, 'a kernel of 2x2, or stride 1x1, or at most 64 output channels')

Source: Achour, Malgouyres, Mamalet, *Existence, Stability and Scalability of Orthogonal Convolutional Neural Networks*,
JMLR 23 (347), 2022.
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import functional
    from .bounds import Bounds, certified_bounds
    from .diagnosis import Diagnosis, diagnose
    from .existence import Existence, exists
    from .extremes import Extremes, extreme_singular_values
    from .functional import lorth
    from .initial import orthogonal_
    from .lightning import OrthogonalCallback
    from .parametrization import parametrize_orthogonal, plain_convolution
    from .penalty import OrthogonalPenalty
    from .residuals import Residual, residual
    from .shapes import ConvShape
    from .spectrum import Spectrum, singular_values, spectrum_of

_WHERE = {
    "Bounds": "bounds",
    "ConvShape": "shapes",
    "Diagnosis": "diagnosis",
    "Existence": "existence",
    "Extremes": "extremes",
    "OrthogonalCallback": "lightning",
    "OrthogonalPenalty": "penalty",
    "Residual": "residuals",
    "Spectrum": "spectrum",
    "certified_bounds": "bounds",
    "diagnose": "diagnosis",
    "exists": "existence",
    "extreme_singular_values": "extremes",
    "lorth": "functional",
    "orthogonal_": "initial",
    "parametrize_orthogonal": "parametrization",
    "plain_convolution": "parametrization",
    "residual": "residuals",
    "singular_values": "spectrum",
    "spectrum_of": "spectrum",
}
_SUBMODULES = ("functional",)

__all__ = [
    "Bounds",
    "ConvShape",
    "Diagnosis",
    "Existence",
    "Extremes",
    "OrthogonalCallback",
    "OrthogonalPenalty",
    "Residual",
    "Spectrum",
    "certified_bounds",
    "diagnose",
    "exists",
    "extreme_singular_values",
    "functional",
    "lorth",
    "orthogonal_",
    "parametrize_orthogonal",
    "plain_convolution",
    "residual",
    "singular_values",
    "spectrum_of",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, _SUBMODULES)
