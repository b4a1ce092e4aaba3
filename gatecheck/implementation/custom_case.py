"""Cases of custom cells: example arrays of any names and shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.atomic_write import atomic_writer
from gatecheck._util.typing import Array

OUTPUTS = ("y", "hT", "cT")
COTANGENTS = ("dloss", *(f"d{k}" for k in OUTPUTS))


class CustomCell:
    """Placeholder for the specification of a cell, without gates."""

    name = "custom"
    gates: tuple[str, ...] = ()
    sigmoid_gates: tuple[str, ...] = ()
    traits = frozenset({"analytic"})

    def __str__(self) -> str:
        return self.name


CUSTOM = CustomCell()


@dataclass(frozen=True, eq=False)
class CustomCase:
    """Example arrays of a target, and cotangents for its results.

    Attributes
    ----------
    params
        Names of its parameters.
    states
        Names of its states.
    arrays
        Parameters, ``x``, states in the order in which they are taken, and cotangents. Read-only.
    origin
        The seed they were drawn from.
    """

    params: tuple[str, ...]
    states: tuple[str, ...]
    arrays: Mapping[str, Array]
    origin: Mapping[str, Any] = field(default_factory=dict)
    cell = CUSTOM

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", {k: np.array(v) for k, v in self.arrays.items()})
        for a in self.arrays.values():
            a.flags.writeable = False

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    @property
    def inputs(self) -> list[str]:
        """Arrays that a gradient may be with respect to."""
        return [k for k in self.arrays if k in (*self.params, "x", *self.states)]

    @property
    def cotangents(self) -> list[str]:
        """Cotangents that are present."""
        return [k for k in self.arrays if k not in self.inputs]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of x."""
        return self.arrays["x"].dtype

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of entries of each array."""
        return tuple(a.size for a in self.arrays.values())

    @cached_property
    def key(self) -> str:
        """Digest of the content."""
        digest = hashlib.blake2b(digest_size=16)
        for name, a in sorted(self.arrays.items()):
            digest.update(f"{name}{a.dtype}{a.shape}".encode() + a.tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomCase) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def state_pairs(self) -> list[tuple[str, str]]:
        """Names of each state before the first step and after the last."""
        return list(zip(self.states, OUTPUTS[1:], strict=False))

    def with_arrays(self, arrays: Mapping[str, Array]) -> CustomCase:
        """Return a case with exactly these arrays."""
        return replace(self, arrays=arrays)

    def replace(self, **arrays: Array | None) -> CustomCase:
        """Return the case with some arrays replaced.

        None stands for zeros, since a custom cell is always given all arrays.
        """
        new = {
            k: np.zeros_like(self.arrays[k]) if v is None else np.asarray(v, self.dtype)
            for k, v in arrays.items()
        }
        return replace(self, arrays={**self.arrays, **new})

    def save(self, path: str | Path, **about: Any) -> None:
        """Write the case; see :meth:`gatecheck.cases.Case.save`."""
        with atomic_writer(path) as file:
            np.savez(file, **self.arrays)  # type: ignore[arg-type]

    def __str__(self) -> str:
        shapes = " ".join(f"{k}{list(a.shape)}" for k, a in self.arrays.items() if k in self.inputs)
        return f"custom {self.dtype} {shapes} (seed {self.origin.get('seed')})"
