"""Tests of every property on every implementation, by the plugin's fixtures.

Run ``pytest --pyargs gatecheck.properties --gatecheck-impl …``.
"""

from collections.abc import Callable
from typing import Any


def test_property(implementation: Any, prop: Callable[[Any], None]) -> None:
    prop(implementation)
