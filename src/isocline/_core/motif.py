"""The sign of the house: isoclines of ``y' = y - x**2``, the curves along which its slope stays the same."""

from __future__ import annotations

import math

from markupsafe import Markup

_SLOPES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)  # the slope c that is kept along y = x**2 + c
_LEFT, _RIGHT, _BOTTOM, _TOP = -3.4, 2.2, -1.2, 4.2  # the window on the plane, equal scales
_APART, _HALF = 0.46, 0.1  # between two ticks along a curve, and half a tick


def motif(width: int = 600) -> Markup:
    """An inline SVG, ``width`` units wide; classes ``isocline``, ``tick`` and ``solution`` give it colour.

    Each parabola is an isocline, and its ticks have the one slope it keeps. The bold curve is the exact
    solution ``y = x**2 + 2 x + 2``, which crosses every isocline at that slope.
    """
    height = width * (_TOP - _BOTTOM) / (_RIGHT - _LEFT)
    curves = "".join(_parabola(width, 0, c, "isocline") + _ticks(width, c) for c in _SLOPES)
    return Markup(  # numbers and names of our own only
        f'<svg class="motif" viewBox="0 0 {width} {height:.0f}" preserveAspectRatio="xMidYMid slice" '
        'aria-hidden="true" focusable="false">'
        f"{curves}{_parabola(width, 2, 2, 'solution')}</svg>"
    )


def _place(width: int, x: float, y: float) -> str:
    scale = width / (_RIGHT - _LEFT)
    return f"{(x - _LEFT) * scale:.1f} {(_TOP - y) * scale:.1f}"


def _parabola(width: int, linear: float, constant: float, kind: str) -> str:
    """``y = x**2 + linear x + constant`` from left to right: one quadratic Bezier curve, without error."""
    at_left, at_right = (x * x + linear * x + constant for x in (_LEFT, _RIGHT))
    middle = at_left + (2 * _LEFT + linear) * (_RIGHT - _LEFT) / 2  # where the tangents of both ends meet
    ends = _place(width, _LEFT, at_left), _place(width, _RIGHT, at_right)
    return f'<path class="{kind}" d="M{ends[0]} Q{_place(width, (_LEFT + _RIGHT) / 2, middle)} {ends[1]}"/>'


def _ticks(width: int, slope: float) -> str:
    """Short strokes of ``slope`` along ``y = x**2 + slope``, evenly spaced along both of its arms."""
    run, rise = _HALF / math.hypot(1, slope), _HALF * slope / math.hypot(1, slope)
    strokes, x = [], 0.0
    while x < -_LEFT:
        for arm in {x, -x}:
            begin, end = (
                _place(width, arm - run, x * x + slope - rise),
                _place(width, arm + run, x * x + slope + rise),
            )
            strokes.append(f"M{begin} L{end}")
        x += _APART / math.hypot(1, 2 * x + _APART)
    return f'<path class="tick" d="{" ".join(sorted(strokes))}"/>'
