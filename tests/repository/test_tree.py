"""The tree: files and folders of one idea, and each test where its module is."""

import ast
from pathlib import PurePosixPath

import pytest

from helpers.imports import sources

LONGEST = 400
"""Lines of a file."""

LARGEST = 15
"""Modules of a folder."""

ELSEWHERE = (
    "tests/helpers",
    "tests/repository",
    "tests/fuzz",
    "tests/hostile",
    "tests/example",
    "tests/properties",
)
"""Beginnings of paths of tests that mirror no package."""


def too_long(path, text):
    """Return the complaint that a file is too long, or nothing."""
    lines = len(text.splitlines())
    return [f"{path}: {lines} lines are two ideas"] if lines > LONGEST else []


def too_large(paths):
    """Return the complaint about each folder with too many modules."""
    folders = [PurePosixPath(p).parent.as_posix() for p in paths if not p.endswith("__init__.py")]
    return [
        f"{folder}: {folders.count(folder)} modules are two subjects"
        for folder in sorted(set(folders))
        if folders.count(folder) > LARGEST
    ]


def misplaced(path, modules):
    """Return the complaint that the path of a test file names no module, or nothing.

    ``tests/a/test_b.py`` and ``tests/a/test_b_and_an_aspect.py`` test ``gatecheck/a/b.py``, which
    may be a package.
    """
    test = PurePosixPath(path)
    if not test.name.startswith("test_") or path.startswith(ELSEWHERE):
        return []
    folder = PurePosixPath("gatecheck", *test.parent.parts[1:])
    words = test.stem.removeprefix("test_").split("_")
    candidates = ["_".join(words[:k]) for k in range(1, len(words) + 1)]
    if any((folder / name).as_posix() in modules for name in candidates):
        return []
    return [f"{path}: {folder} has no module that this could be the test of"]


TESTED_ELSEWHERE = {
    "gatecheck/bench/peers": "tests/bench/test_race.py",
    "gatecheck/diagnosis/conventions": "tests/diagnosis/test_conventions.py",
    "gatecheck/faults/tables": "tests/faults/test_catalogue.py",
    "gatecheck/oracles/noise": "tests/oracles/test_rounding.py",
    "gatecheck/report/bench": "tests/bench/test_sections.py",
}
"""Test files of packages without a folder of tests, by beginnings of paths."""


def untested(module, tests):
    """Return the complaint that no path leads from a module to its tests, or nothing.

    They are in ``tests/a/test_b*.py`` for ``gatecheck/a/b.py``, else in the other files of
    ``tests/a``, or in a file of :data:`TESTED_ELSEWHERE`.
    """
    path = PurePosixPath(module)
    folder = PurePosixPath("tests", *path.parent.parts[1:])
    elsewhere = [t for start, t in TESTED_ELSEWHERE.items() if module.startswith(start + "/")]
    places = elsewhere or [t for t in tests if PurePosixPath(t).parent == folder]
    return [] if set(places) & set(tests) else [f"{module}: there are no tests in {folder}"]


def package_modules():
    """Return the paths of all modules and packages of gatecheck, without their suffix."""
    paths = [PurePosixPath(path).with_suffix("") for path in sources("gatecheck")]
    return {(p.parent if p.name == "__init__" else p).as_posix() for p in paths}


def test_a_file_is_one_idea():
    texts = sources("gatecheck", "properties", "tests")
    assert "tests/repository/test_tree.py" in texts
    assert [problem for path, text in texts.items() for problem in too_long(path, text)] == []


def test_a_folder_is_one_subject():
    assert too_large(sources("gatecheck", "properties")) == []


def test_tests_mirror_the_tree():
    modules = package_modules()
    tests = sources("tests")
    assert [problem for path in tests for problem in misplaced(path, modules)] == []


def test_every_module_has_its_tests_by_its_path():
    tests = [path for path in sources("tests") if "/test_" in path]
    modules = [path for path in sources("gatecheck") if "__init__" not in path]
    assert set(TESTED_ELSEWHERE.values()) <= set(tests)
    assert [problem for module in modules for problem in untested(module, tests)] == []


@pytest.mark.parametrize(
    ("module", "fine"),
    [
        ("gatecheck/cells/spec.py", True),
        ("gatecheck/faults/tables/cells/rnn.py", True),
        ("gatecheck/errors.py", True),
        ("gatecheck/new/module.py", False),
        ("gatecheck/decay/new/module.py", False),
    ],
)
def test_missing_tests_can_fail(module, fine):
    assert (untested(module, list(sources("tests"))) == []) == fine


def test_every_package_has_a_first_line():
    packages = {p: t for p, t in sources("gatecheck", "properties").items() if "__init__" in p}
    assert [path for path, text in packages.items() if not ast.get_docstring(ast.parse(text))] == []


def test_length_can_fail():
    assert too_long("tests/test_x.py", "x = 1\n" * LONGEST) == []
    (problem,) = too_long("tests/test_x.py", "x = 1\n" * (LONGEST + 1))
    assert problem == f"tests/test_x.py: {LONGEST + 1} lines are two ideas"


def test_size_can_fail():
    paths = [f"gatecheck/x/{k}.py" for k in range(LARGEST)]
    assert too_large([*paths, "gatecheck/x/__init__.py", "gatecheck/y.py"]) == []
    assert too_large([*paths, "gatecheck/x/more.py"]) == [
        "gatecheck/x: 16 modules are two subjects"
    ]


@pytest.mark.parametrize(
    ("path", "fine"),
    [
        ("tests/cells/test_spec.py", True),
        ("tests/cells/test_spec_options.py", True),
        ("tests/decay/study/test_run_interrupted.py", True),
        ("tests/repository/test_anything.py", True),
        ("tests/cells/test_options.py", False),
        ("tests/cells/test_run.py", False),
        ("tests/test_spec.py", False),
        ("tests/nowhere/test_spec.py", False),
    ],
)
def test_place_can_fail(path, fine):
    assert (misplaced(path, package_modules()) == []) == fine
