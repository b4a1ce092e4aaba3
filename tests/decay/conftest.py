"""A fixture that keeps spawned processes from running pytest again."""

import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_main():
    """Keep spawned processes from running the main script again.

    It may be a script that starts pytest without a guard.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(sys.modules["__main__"], "__file__", raising=False)
        yield
