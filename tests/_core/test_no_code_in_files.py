"""No source of the house uses a way of reading that can run what it reads."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "isocline"

FORBIDDEN = {
    "pickle": r"\bimport\s+\w*pickle\b|\bfrom\s+\w*pickle\b|\bpickle\.|\bdill\b|\bshelve\b|\bmarshal\b",
    "torch.load without weights_only=True": r"(?<!safetensors\.)torch\.load\((?![^)]*weights_only=True)",
    "joblib.load": r"joblib\.load\b",
    "yaml.load": r"yaml\.(unsafe_|full_)?load\b",
    "np.load with allow_pickle=True": r"allow_pickle\s*=\s*(?!False)",
    "np.load without allow_pickle=False": r"\b(np|numpy)\.load\((?![^)]*allow_pickle=False)",
    "eval or exec": r"(?<![\w.])(eval|exec)\(",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_of_ours_can_run_what_it_reads(what):
    sources = list(SOURCE.rglob("*.py"))
    assert len(sources) > 5
    found = [
        f"{path.relative_to(SOURCE)}"
        for path in sources
        if re.search(FORBIDDEN[what], path.read_text("utf-8"))
    ]
    assert not found, f"{what}: {found}"


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("pickle", "import pickle"),
        ("pickle", "from cloudpickle import dumps"),
        ("torch.load without weights_only=True", "torch.load(path)"),
        ("torch.load without weights_only=True", "torch.load(\n    path, weights_only=False)"),
        ("joblib.load", "joblib.load(path)"),
        ("yaml.load", "yaml.load(text)"),
        ("np.load with allow_pickle=True", "np.load(path, allow_pickle=True)"),
        ("np.load without allow_pickle=False", "np.load(path)"),
        ("eval or exec", "x = eval(text)"),
    ],
)
def test_the_search_would_find_it(what, line):
    assert re.search(FORBIDDEN[what], line)
    for fine in ("torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)", "model.eval()"):
        assert not re.search(FORBIDDEN[what], fine)
