from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from gatecheck._util.typing import Array
from gatecheck.cells import Cell


class Problem(NamedTuple):
    """A cell's inputs and cotangents, named as in the calls."""

    params: dict[str, Array]
    x: Array
    h0: Array
    c0: Array | None
    dy: Array
    dhT: Array
    dcT: Array | None

    @property
    def inputs(self) -> tuple[Any, ...]:
        return self[:4]


@pytest.fixture
def draw() -> Callable[..., Problem]:
    """Return a function that draws nonzero arrays, seeded by the cell and sizes."""

    def draw(
        cell: Cell,
        T: int = 6,
        B: int = 3,
        D: int = 4,
        H: int = 5,
        dtype: str = "float64",
        scale: float = 0.7,
    ) -> Problem:
        rng = np.random.default_rng([T, B, D, H, *cell.name.encode()])

        def normal(*shape: int, size: float = 1.0) -> Array:
            return (size * rng.standard_normal(shape)).astype(dtype)

        params = {
            name: normal(*shape, size=scale) for name, shape in cell.param_shapes(D, H).items()
        }
        c0, dcT = (normal(B, H), normal(B, H)) if "cell_state" in cell.traits else (None, None)
        return Problem(
            params, normal(T, B, D), normal(B, H), c0, normal(T, B, H), normal(B, H), dcT
        )

    return draw
