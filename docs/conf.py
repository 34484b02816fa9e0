"""The site: MyST pages, furo, figures drawn while it is built. No page needs the network to be read."""

import contextlib
import io
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
os.environ["MPLBACKEND"] = "Agg"
os.environ["COLUMNS"] = "84"  # the width of the commands' help

import blocks  # noqa: E402  (this folder)

import isocline  # noqa: E402
from isocline._core.motif import motif  # noqa: E402
from isocline.cli import main  # noqa: E402
from isocline.cli.commands import COMMANDS  # noqa: E402
from isocline.lab.style import house_style  # noqa: E402

default_role = "literal"  # `x` in a docstring is code
project = "isocline"
author = "The isocline developers"
copyright = "The isocline developers, Apache-2.0"
version = release = isocline.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and units are in the docstrings; array aliases print as a page
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "furo"
html_title = "isocline"
html_static_path = ["_static"]
html_css_files = ["isocline.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0d6469",
        "color-brand-content": "#0d6469",
        "color-brand-visited": "#0d6469",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6fc3c1",
        "color-brand-content": "#6fc3c1",
        "color-brand-visited": "#6fc3c1",
    },
}


def draw_figures(_app: object) -> None:
    """Run every tutorial; the figures it saves land in ``_build/figures``, where the page points."""
    figures = HERE / "_build" / "figures"
    for page in sorted((HERE / "rooms").glob("*.md")):
        with house_style():
            blocks.run(page, figures)
    sign = str(motif()).replace("<svg ", '<svg preserveAspectRatio="xMidYMid slice" ', 1)
    (figures / "motif.html").write_text(sign, encoding="utf-8")


def write_help(_app: object) -> None:
    """What each command says of itself goes into ``_build/help``, for the page on the command."""
    folder = HERE / "_build" / "help"
    folder.mkdir(parents=True, exist_ok=True)
    for name in COMMANDS:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main([name, "--help"])
        (folder / f"{name}.txt").write_text(said.getvalue(), encoding="utf-8")


def setup(app: object) -> None:
    """Sphinx's door."""
    app.connect("builder-inited", draw_figures)  # type: ignore[attr-defined]
    app.connect("builder-inited", write_help)  # type: ignore[attr-defined]
