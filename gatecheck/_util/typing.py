"""Types that many modules annotate with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
"""A NumPy array of any dtype and shape; docstrings say which."""

Progress = Callable[[int, int, str], None]
"""A function of steps done, steps in all, and the name of the current step."""
