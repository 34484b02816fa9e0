"""The public names and their signatures are the stored ones: a rename is a decision, not an accident.

After a decision: ``python tests/test_public_names.py`` writes the list again.
"""

import inspect
import json
from importlib import import_module
from pathlib import Path

import pytest

STORED = Path(__file__).parent / "golden" / "public_names.json"
MODULES = [
    "isocline",
    "isocline.binary",
    "isocline.binary.functional",
    "isocline.binary.packed",
    "isocline.datasets.photographs",
    "isocline.dynamics",
    "isocline.dynamics.analysis",
    "isocline.dynamics.functional",
    "isocline.dynamics.measures",
    "isocline.lab",
    "isocline.latents",
    "isocline.latents.functional",
    "isocline.level_sets",
    "isocline.level_sets.functional",
    "isocline.linear_model",
    "isocline.linear_model.functional",
    "isocline.orthogonal",
    "isocline.orthogonal.functional",
    "isocline.plstm",
    "isocline.plstm.functional",
    "isocline.theory",
    "isocline.theory.functional",
    "isocline.training",
]


def _signature(thing: object) -> str:
    """``(x, *, y=2)`` with annotations left out: those may grow more exact without breaking anyone."""
    if not callable(thing):
        return type(thing).__name__
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return "()"
    bare = [
        p.replace(annotation=inspect.Parameter.empty, default=_named(p.default))
        for p in signature.parameters.values()
    ]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _named(default: object) -> object:
    """A function as its name, which unlike its address stays the same."""
    return Name(default.__name__) if inspect.isfunction(default) else default


class Name(str):
    __repr__ = str.__str__


def public_names(module: str) -> dict[str, str]:
    """Every name of a module's ``__all__``, with its signature, or its type where it is not called."""
    found = import_module(module)
    return {name: _signature(getattr(found, name)) for name in sorted(found.__all__) if name != "__version__"}


@pytest.mark.parametrize("module", MODULES)
def test_names_and_signatures_are_the_stored_ones(module):
    assert public_names(module) == json.loads(STORED.read_text())[module]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_and_class_says_what_it_is(module):
    found = import_module(module)
    called = [getattr(found, name) for name in found.__all__]
    assert not [thing for thing in called if callable(thing) and not inspect.getdoc(thing)]


if __name__ == "__main__":
    STORED.write_text(json.dumps({module: public_names(module) for module in MODULES}, indent=1) + "\n")
