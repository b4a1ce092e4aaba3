"""``import gatecheck`` is light, and has every public name."""

import importlib
import inspect
import json
import subprocess
import sys

import pytest

import gatecheck
from gatecheck.auditing import audit
from helpers.paths import ROOT

HEAVY = {"numba", "scipy", "hypothesis", "torch", "jax", "matplotlib", "rich", "click"}

TIME_S = 0.3
"""Largest time that the import may add to that of NumPy, in seconds.

It keeps asking for a version instant; under 0.01 s is usual.
"""


def python(code):
    """Return what a fresh interpreter prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("module", "banned"), [("gatecheck", HEAVY | {"pytest"}), ("gatecheck.pytest_plugin", HEAVY)]
)
def test_importing_stays_light(module, banned):
    """Every run of pytest in an environment with gatecheck loads the plugin."""
    loaded = python(
        f"import {module}, json, sys; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    assert "gatecheck" in loaded
    assert banned.isdisjoint(loaded)


def test_importing_is_quick():
    code = (
        "import numpy, time; start = time.perf_counter(); import gatecheck; "
        "print(time.perf_counter() - start)"
    )
    assert min(python(code) for _ in range(3)) < TIME_S


def submodules():
    """Return every module of the package, by the tree.

    pkgutil does not see properties/ in an editable installation.
    """
    files = [
        file.relative_to(ROOT).with_suffix("")
        for folder in ("gatecheck", "properties")
        for file in (ROOT / folder).rglob("*.py")
    ]
    names = {
        ".".join(file.parts).removesuffix(".__init__") for file in files if file.name != "__main__"
    }
    return sorted(name if name.startswith("gatecheck") else f"gatecheck.{name}" for name in names)


def test_no_submodule_hides_a_public_name():
    """Importing gatecheck.x binds x in the package.

    A submodule named like a function would take its place.
    """
    modules = submodules()
    assert {
        "gatecheck",
        "gatecheck.auditing.audit",
        "gatecheck.properties.gates",
        "gatecheck.cli",
    } < set(modules)
    before = {name: getattr(gatecheck, name) for name in gatecheck.__all__}
    for name in modules:
        importlib.import_module(name)
    values = {name: getattr(gatecheck, name) for name in gatecheck.__all__}
    assert [name for name, value in values.items() if inspect.ismodule(value)] == []
    assert [name for name, value in values.items() if value is not before[name]] == []
    assert values["audit"] is audit.audit


def test_names_are_listed_once_and_shown():
    assert len(set(gatecheck.__all__)) == len(gatecheck.__all__)
    assert set(gatecheck.__all__) <= set(dir(gatecheck))


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'audti'"):
        _ = gatecheck.audti
