"""The command line: what it prints where, its exit codes, and one clear line for every mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from isocline import __version__
from isocline.cli import main
from isocline.cli.commands import COMMANDS
from isocline.lab import all_claims

LAB = Path(__file__).parent / "lab"


@pytest.fixture
def toys(monkeypatch, tmp_path):
    """The toy claim is the only one there is."""
    from isocline.lab import claims

    monkeypatch.syspath_prepend(str(LAB))
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log.txt"))
    monkeypatch.setattr(claims, "ROOMS", ("toy_claims",))
    sys.modules.pop("toy_claims", None)
    yield tmp_path / "runs"
    sys.modules.pop("toy_claims", None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tuor", f"command: want one of {', '.join(COMMANDS)}, got 'tuor'; did you mean tour"),
        ("xyz", f"command: want one of {', '.join(COMMANDS)}, got 'xyz'; `isocline --help`"),
        ("reproduce", "names: want at least one claim, got none; `isocline claims` lists them"),
        ("reproduce linear_model/wurst-case", "did you mean linear_model/worst-case"),
        (
            "reproduce linear_model --scale papr",
            "invalid choice 'papr' for argument '--scale'. Expected one of",
        ),
        ("reproduce linear_model --sale tour", "Unrecognized options: --sale, tour; did you mean --scale?"),
        ("reproduce linear_model --seeds x", "Error parsing --seeds: invalid literal for int"),
        ("reproduce linear_model --seeds -1", "seeds: want a whole number >= 0, got -1"),
        ("reproduce linear_model --engine spark", "invalid choice 'spark' for argument '--engine'"),
        ("reproduce linear_model --device cudda", "device: want auto or one of cpu"),
        ("reproduce linear_model --ray-address auto", "ray-address: want --engine ray beside it"),
        ("tour --jobs -2", "jobs: want a whole number >= 0, got -2"),
        ("tour --out {file}", "out: want a folder, got the file"),
        ("tour --data {file}/no", "data: want a folder that exists"),
        ("tour extra", "Unrecognized options: extra; `isocline tour --help` lists the options"),
        ("doctor --jsn", "did you mean --json?"),
        ("claims --data .", "Unrecognized options: --data"),
    ],
)
def test_a_mistake_is_answered_with_one_line(words, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(words.format(file=tmp_path / "file").split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("isocline: ")
    assert said.err.count("\n") == 1
    assert message in said.err


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["tour", "--help"], ["reproduce", "-h"], ["doctor", "--help"]]
)
def test_help_goes_to_stdout(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    said = capsys.readouterr()
    assert "usage: isocline" in said.out
    assert said.err == ""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"isocline {__version__}\n"


def test_help_waits_for_no_heavy_library():
    code = (
        "import sys; from isocline.cli import main\n"
        "try: main(['reproduce', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage" in result.stdout
    for heavy in ("torch", "numpy", "scipy", "sklearn", "matplotlib", "joblib", "jinja2"):
        assert f"'{heavy}'" not in result.stderr


def test_claims_lists_every_claim_with_its_sentence(capsys):
    assert main(["claims"]) == 0
    words = capsys.readouterr().out
    for claim in all_claims():
        assert claim.name in words
        assert claim.sentence.split()[0] in words
    assert main(["claims", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [about["name"] for about in listed] == [claim.name for claim in all_claims()]
    assert set(listed[0]["scales"]) == {"tour", "small", "paper"}
    assert all(
        scale["tasks"] > 0 and scale["needs"] for about in listed for scale in about["scales"].values()
    )


def test_doctor_tells_versions_devices_kernels_and_data(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["isocline"] == __version__
    assert re.match(r"\d+\.\d+", found["versions"]["torch"])
    assert found["machine"]["devices"].startswith("cpu")
    assert found["kernels"]["linear_model: reference"] == "available"
    assert "fashion-mnist" in found["data_sets"]
    assert found["missing"] == []
    assert main(["doctor"]) == 0
    assert "Everything that isocline needs is here." in capsys.readouterr().out


def test_doctor_names_what_is_missing(monkeypatch, capsys):
    from isocline.lab import machine

    installed = machine.installed
    monkeypatch.setattr(
        machine, "installed", lambda name: None if name in ("numba", "ray") else installed(name)
    )
    assert main(["doctor"]) == 1
    words = capsys.readouterr().out
    assert "missing: numba" in words
    assert "pip install 'isocline[ray]'" in words


def test_reproduce_shows_the_figures_and_where_the_page_is(toys, capsys):
    assert main(["reproduce", "toy/*", "--out", str(toys), "--jobs", "2"]) == 0
    said = capsys.readouterr()
    for word in ("mean number", "≥ 0", "0 … 2 in 6 runs", "holds"):
        assert word in said.out
    page = toys / "toy/play/tour/index.html"
    assert f"page: {page}" in said.out
    assert page.read_text().lstrip().startswith("<!doctype html>")
    assert said.err == ""  # no progress bar where there is no terminal


def test_json_is_the_only_thing_on_stdout(toys, capsys):
    assert main(["reproduce", "toy", "--seeds", "1", "--scale", "small", "--out", str(toys), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(toys / "toy/play/small/index.html")
    assert [claim["tasks"]["done"] for claim in said["claims"]] == [3]
    assert said["claims"][0]["figures"][0]["values"] == [0.0, 1.0, 2.0]


def test_tour_runs_every_claim_writes_its_page_and_resumes(toys, capsys):
    words = ["tour", "--out", str(toys), "--jobs", "2"]
    assert main(words) == 0
    assert f"page: {toys / 'tour/index.html'}" in capsys.readouterr().out
    page = (toys / "tour/index.html").read_text()
    assert f"isocline tour --out {toys} --jobs 2" in page
    assert main(words) == 0
    assert "(6 from before)" in capsys.readouterr().out
    assert main([*words, "--fresh"]) == 0
    assert "from before" not in capsys.readouterr().out


def test_a_failed_task_ends_in_exit_code_1(toys, monkeypatch, capsys):
    monkeypatch.setenv("TOY_WAYS", "good raise")
    assert main(["reproduce", "toy", "--out", str(toys)]) == 1
    said = capsys.readouterr()
    assert "2 failed" in said.out
    assert "not decided: 2 tasks failed" in said.out
    assert said.err == "isocline: 2 tasks failed; the page has the tracebacks\n"


def test_several_claims_get_an_index(toys, monkeypatch, capsys):
    import toy_claims

    log = toys.parent / "log.txt"
    monkeypatch.setattr(
        toy_claims, "CLAIMS", [toy_claims.claim(log, name=f"toy/{name}") for name in ("one", "two")]
    )
    assert main(["reproduce", "toy", "--out", str(toys)]) == 0
    assert f"page: {toys / 'index.html'}" in capsys.readouterr().out
    assert (toys / "toy/one/tour/index.html").exists()


def test_an_unwritable_folder_is_one_line(toys, capsys):
    if os.geteuid() == 0:
        out = Path("/proc/isocline")  # not even root can write here
    else:
        toys.mkdir(mode=0o500)
        out = toys / "below"
    assert main(["reproduce", "toy", "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_interrupted_command_says_how_to_go_on(toys, monkeypatch, capsys):
    from isocline.lab import runner

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "results", interrupted)
    assert main(["tour", "--out", str(toys)]) == 130
    assert capsys.readouterr().err == "isocline: stopped; the same command continues from here\n"


def test_a_traceback_comes_when_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("ISOCLINE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="command: want one of"):
        main(["tuor"])


def test_the_command_is_installed():
    script = Path(sys.executable).parent / "isocline"
    result = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"isocline {__version__}\n"


def test_python_dash_m():
    result = subprocess.run(
        [sys.executable, "-m", "isocline", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"isocline {__version__}\n"
