"""Makes chores.py importable for these tests and for the processes that they start."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="module")
def no_main():
    """A process that is spawned runs the main script again, and that may be somebody's own,
    unguarded, which starts pytest.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(sys.modules["__main__"], "__file__", raising=False)
        yield
