"""Whole numbers where rounding would leave a doubt: the sign of a sum, the dependence of a few rows."""

from fractions import Fraction
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr

Array = npt.NDArray[np.float64]


def exact_sign(row: Array, theta: Array, intercept: float) -> int:
    """The sign of ``row . theta + intercept``, without rounding. Shapes: row ``(d,)``, theta ``(d,)``."""
    terms = (Fraction(x) * Fraction(t) for x, t in zip(row.tolist(), theta.tolist(), strict=True) if x and t)
    total = sum(terms, Fraction(intercept))
    return (total > 0) - (total < 0)


def exact_dependence(rows: Array, weights: Array) -> bool:
    """Are there, close to these weights, others ``a >= 0``, not all zero, with ``rows^T a = 0`` exactly?

    As many weights as there are independent columns are solved for (without fractions: Bareiss 1968), the
    others are taken as they are, and then every column is checked; so "yes" is a proof and "no" only says
    that none was found. Meant for few rows: the cost grows like k^4. Shapes: rows ``(k, d)``, weights
    ``(k,)``.
    """
    features = [column for column in rows.T if column.any()]
    if not features:
        return bool((weights > 0).any())
    scaled = np.array(features)
    scaled = scaled / np.abs(scaled).max(axis=1, keepdims=True) * weights
    rank, first = _independent(scaled.T)
    _, basis = _independent(scaled[first[:rank]])
    solved, kept = sorted(basis[:rank].tolist()), sorted(basis[rank:].tolist())
    if not kept:
        return False
    table, given = [_whole(feature) for feature in features], _whole(weights[kept])
    right = [-sum(row[i] * w for i, w in zip(kept, given, strict=True)) for row in table]
    system = [[*(table[j][i] for i in solved), right[j]] for j in first[:rank].tolist()]
    solution = _solve(system)
    if solution is None:
        return False
    values, denominator = solution
    if any(value * denominator < 0 for value in values):
        return False
    return all(
        sum(row[i] * value for i, value in zip(solved, values, strict=True)) == denominator * target
        for row, target in zip(table, right, strict=True)
    )


def _independent(matrix: Array) -> tuple[int, npt.NDArray[np.int64]]:
    """The rank, as far as rounding shows it, and the order of the columns with independent ones first."""
    triangle, order = cast("tuple[Array, npt.NDArray[np.int64]]", qr(matrix, mode="r", pivoting=True))
    diagonal = np.abs(np.diag(triangle))
    return int(np.count_nonzero(diagonal > 1e-12 * diagonal[0])), order


def _whole(values: Array) -> list[int]:
    """The numbers times a common power of two that makes them whole."""
    ratios = [value.as_integer_ratio() for value in values.tolist()]
    common = max(denominator for _, denominator in ratios)
    return [numerator * (common // denominator) for numerator, denominator in ratios]


def _solve(system: list[list[int]]) -> tuple[list[int], int] | None:
    """``x = values / denominator`` of r equations, rows of r + 1 whole numbers; None when dependent."""
    previous = 1
    for p in range(len(system)):
        row = next((i for i in range(p, len(system)) if system[i][p]), None)
        if row is None:
            return None
        system[p], system[row] = system[row], system[p]
        top, pivot = system[p], system[p][p]
        for i, line in enumerate(system):
            if i != p:
                factor = line[p]
                system[i] = [(pivot * a - factor * b) // previous for a, b in zip(line, top, strict=True)]
        previous = pivot
    return [line[-1] for line in system], previous
