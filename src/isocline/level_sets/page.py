"""The page of a `BlindSpotReport`, for a reader who has not seen the paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from isocline._core.files import write_atomic
from isocline._core.page import Badge, Page, drawn
from isocline.level_sets import pictures

if TYPE_CHECKING:
    from isocline.level_sets.report import BlindSpotReport

LEAD = "Images that look like something else entirely, while the model's answer stays what it was."
WHAT = """A blind spot is a change that the model does not notice. Each walk begins at a source image and moves towards an
unrelated target image, always sideways: along directions in which the model's confidence in the source's class does not change.
It ends at an image that a person takes for the target. The model still names the source.

This is the opposite of an adversarial example, where a change too small to see turns the answer. Here everything that
can be seen changes, and the answer does not. Such an image tells how little the model's confidence says about what is in it."""
STRIPS = (
    "From left to right: the source, images of the way, the blind spot, and the target it looks like. Below each: the "
    "model's confidence that it shows the class of the source."
)
CURVES = (
    "Left: confidence in the source's class, step by step. Right: along the straight line from source to blind spot, and, "
    "for comparison, from source to target."
)
HULLS = (
    "Each point is a mixture of three images: the source (top) and two of its blind spots. Bright: the model is sure to see "
    "the source's class. Blind spots are no isolated points when the edges from the source stay bright."
)
TABLE_A = (
    "Each row is a walk. RMSE, l∞ (the largest difference of any pixel) and SSIM (1: identical) compare the blind spot with "
    "its target, pixels in [0, 1]. p: confidence in the source's class at the source, at the blind spot, and at the target; "
    "segment min: the lowest on the straight line to the blind spot. Passes: forward and backward passes through the model."
)
TABLE_B = (
    "Means over the triangles of each source. ≤ d: share of the 66 points whose confidence is at most d below the source's. "
    "Edges: the straight lines from the source to its blind spots, their mean confidence, and the worst point relative to "
    "the source."
)


def write_page(report: BlindSpotReport, folder: Path, model: str, command: str) -> Path:
    """Write the page and its pictures; returns the page's path."""
    walk = report.walk
    found = _found(report)
    facts: dict[str, object] = {
        "model": model,
        "pairs": len(walk),
        "blind spots": int(found.sum()),
        "method": walk.method,
        "allowed drop": walk.delta,
    }
    count = int(found.sum())
    badge = Badge(f"{count} of {len(walk)} found", "info" if count else "open")
    page = Page(f"Blind spots of {model}", LEAD, facts, badge)
    page.section("What this shows").text(WHAT)
    _strips(page, report, folder)
    page.section("How near, and how sure").table(*report.table_a(), caption=TABLE_A)
    rows = [i for i in range(len(walk)) if bool(walk.kept[i])]
    if rows:
        _picture(page, folder, "confidence", pictures.curves(report, rows), CURVES)
    _hulls(page, report, folder)
    names = [f"{a} → {b}" for a, b in zip(report.sources, report.targets, strict=True)]
    odd = [f"{name}: {why}." for name, why, good in zip(names, walk.stopped, found, strict=True) if not good]
    if odd or walk.notes:
        page.section("Mind").text("\n\n".join([*odd, *walk.notes]))
    if command:
        page.section("Made with").code(command)
    return page.write(folder / "index.html")


def _found(report: BlindSpotReport) -> np.ndarray:
    """Where the walk covered nine tenths of the way and the model's confidence is within the allowed drop."""
    walk = report.walk
    held = walk.end_confidence >= walk.source_confidence - walk.delta
    return (walk.kept & held & (walk.ratio <= 0.1)).cpu().numpy()


def _strips(page: Page, report: BlindSpotReport, folder: Path) -> None:
    if report.walk.source.ndim != 4 or report.walk.source.shape[1] not in (1, 3):
        return
    page.section("From source to blind spot").text(STRIPS)
    for i in range(len(report.walk)):
        name = f"{i:02d}-{_plain(report.sources[i])}-{_plain(report.targets[i])}"
        _picture(page, folder, name, pictures.strip(report, i), "")
        pixels = (pictures.as_picture(report.walk.end[i]) * 255).round().astype(np.uint8)
        path = folder / "blind_spots" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def _hulls(page: Page, report: BlindSpotReport, folder: Path) -> None:
    columns, rows = report.table_b()
    if not rows:
        return
    page.section("Between blind spots")
    first = {report.sources[hull.pairs[0]]: k for k, hull in reversed(list(enumerate(report.hulls)))}
    _picture(page, folder, "triangles", pictures.triangles(report, sorted(first.values())[:3]), HULLS)
    page.table(columns, rows, TABLE_B)


def _picture(page: Page, folder: Path, name: str, figure: object, caption: str) -> None:
    png = drawn(figure)  # type: ignore[arg-type]
    page.figure(png, caption)
    write_atomic(folder / "pictures" / f"{name}.png", png.png)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
