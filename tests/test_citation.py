"""CITATION.cff names this version and the eight papers; LICENSE is the Apache licence, unchanged."""

import hashlib
from pathlib import Path

import pytest

import isocline

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def citation():
    yaml = pytest.importorskip("yaml", reason="PyYAML, which comes with the docs extra")
    return yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


def test_it_cites_this_version(citation):
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == isocline.__version__
    assert citation["license"] == "Apache-2.0"


def test_the_eight_papers_are_there_with_what_a_reader_needs(citation):
    references = citation["references"]
    assert len({reference["title"] for reference in references}) == 8
    for reference in references:
        assert reference["type"] in ("article", "book", "conference-paper")
        assert {"title", "authors", "year", "url"} <= reference.keys()
        assert all({"family-names", "given-names"} == author.keys() for author in reference["authors"])


def test_the_licence_is_the_standard_text():
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
