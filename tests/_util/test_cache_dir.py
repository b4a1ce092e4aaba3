"""Digests of sources: they cover every module on which what is cached depends."""

import pytest

from gatecheck._util.cache_dir import PACKAGE, package_sources, source_digest
from gatecheck.checking import budgets
from gatecheck.decay.jobs import checkpoints
from helpers.imports import import_closure, module_name, sources

DECAY = [n for n in map(module_name, sources("gatecheck")) if n.startswith("gatecheck.decay.")]


@pytest.fixture
def package(tmp_path):
    """Two packages, one inside the other, with a module each."""
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "a.py").write_text("a = 1")
    (tmp_path / "outer" / "inner" / "b.py").write_text("b = 1")
    yield tmp_path / "outer"
    source_digest.cache_clear()


def digest(path):
    source_digest.cache_clear()
    return source_digest(path)


@pytest.mark.parametrize("file", ["a.py", "inner/b.py"])
def test_an_edit_changes_the_digest_in_subfolders_too(package, file):
    before = digest(package)
    (package / file).write_text("another = 2")
    assert digest(package) != before


def test_a_move_and_a_new_file_change_the_digest(package):
    digests = {digest(package)}
    (package / "inner" / "b.py").rename(package / "inner" / "c.py")
    digests.add(digest(package))
    (package / "inner" / "new.py").write_text("")
    digests.add(digest(package))
    (package / "notes.txt").write_text("not a source")
    digests.add(digest(package))
    assert len(digests) == 3


def test_a_stale_path_is_an_error(package):
    with pytest.raises(FileNotFoundError):
        digest(package / "gone")


@pytest.mark.parametrize(
    ("names", "starts"),
    [(budgets.SOURCES, ["gatecheck.checking.budgets"]), (checkpoints.SOURCES, DECAY)],
    ids=["budgets", "parts of a study"],
)
def test_a_digest_covers_all_that_the_result_depends_on(names, starts):
    paths = package_sources(*names)
    needed = import_closure(*starts)
    assert len(needed) > len(starts)
    missing = [
        name
        for name in sorted(needed)
        if not any(
            file.is_relative_to(path)
            for path in paths
            for file in [PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")]
        )
        and not any(PACKAGE.joinpath(*name.split(".")[1:]).is_relative_to(path) for path in paths)
    ]
    assert missing == []
