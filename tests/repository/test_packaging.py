"""Packaging: the tree and the wheel hold what pyproject.toml promises."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from email.parser import Parser
from importlib.metadata import EntryPoint
from pathlib import Path
from zipfile import ZipFile

import pytest

import gatecheck
from helpers.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {"gatecheck": "gatecheck", "properties": "gatecheck/properties"}
"""Places of the tree's folders in the wheel."""

EXTRAS = {
    "test",
    "report",
    "torch",
    "jax",
    "keras",
    "onnx",
    "weights",
    "certified",
    "distributed",
    "docs",
    "all",
}


def files(pattern):
    """Return the files of the tree that match, by their path in the wheel."""
    return {
        f"{to}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, to in FOLDERS.items()
        for file in (ROOT / folder).rglob(pattern)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the tree.

    build/ of the checkout may hold files that no longer exist.
    """
    copy = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(copy)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (copy / "dist").glob("*.whl")
    with ZipFile(path) as archive:
        yield archive


@pytest.fixture
def metadata(wheel):
    """Return the core metadata of the wheel."""
    return Parser().parsestr(
        wheel.read(f"gatecheck-{gatecheck.__version__}.dist-info/METADATA").decode()
    )


def test_the_list_of_packages_is_the_tree():
    with_code = {Path(file).parent for file in files("*.py")}
    with_init = {Path(file).parent for file in files("__init__.py")}
    assert with_code == with_init
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(
        ".".join(folder.parts) for folder in with_code
    )


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    info = f"gatecheck-{gatecheck.__version__}.dist-info/"
    names = set(wheel.namelist())
    ours = files("*.py") | files("*.h") | files("templates/*") | {"gatecheck/py.typed"}
    assert {name for name in names if not name.startswith(info)} == ours
    assert {
        "gatecheck/properties/gates.py",
        "gatecheck/properties/test_properties.py",
        info + "licenses/LICENSE",
    } <= names


def test_the_extras(metadata):
    assert set(metadata.get_all("Provides-Extra")) == EXTRAS
    (everything,) = (
        need for need in metadata.get_all("Requires-Dist") if need.endswith('extra == "all"')
    )
    assert set(re.search(r"\[(.*)\]", everything)[1].split(",")) == EXTRAS - {"all", "test", "docs"}


def test_the_entry_points_load(wheel):
    points = configparser.ConfigParser()
    points.read_string(
        wheel.read(f"gatecheck-{gatecheck.__version__}.dist-info/entry_points.txt").decode()
    )
    # Named after its module: pytest then knows that `-p gatecheck.pytest_plugin` is the same
    # plugin.
    entry_points = {group: dict(points[group]) for group in points.sections()}
    assert entry_points == {
        "console_scripts": {"gatecheck": "gatecheck.cli:main"},
        "pytest11": {"gatecheck.pytest_plugin": "gatecheck.pytest_plugin"},
    }
    for group, entries in entry_points.items():
        for name, value in entries.items():
            EntryPoint(name, value, group).load()


def test_one_version_everywhere(metadata):
    version = PYPROJECT["project"]["version"]
    assert metadata["Version"] == gatecheck.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
