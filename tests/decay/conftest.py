"""A fixture that keeps spawned processes from running pytest again."""

import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_main():
    """A process that is spawned runs the main script again, and that may be somebody's own,
    unguarded, which starts pytest.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(sys.modules["__main__"], "__file__", raising=False)
        yield
