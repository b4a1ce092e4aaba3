"""Which networks a decay report is about: a cell, an initialisation and sizes, drawn with its inputs from one seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import Cell
from gatecheck.initialisers import initialiser

Array = NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A cell at random weights, fed with inputs drawn from N(0, 1)."""

    cell: Cell
    initialiser: str
    hidden: int
    inputs: int

    @property
    def name(self) -> str:
        """How tables and progress bars call it."""
        return f"{self.cell} {self.initialiser}"

    def generator(self, seed: int, trial: int) -> np.random.Generator:
        """The source of everything random in one trial.

        It depends on what the network is, the run's seed and the trial's number, so not on what else a sweep measures or in which
        order.
        """
        content = hashlib.sha256(f"{self.name} {self.hidden} {self.inputs}".encode()).digest()
        return np.random.default_rng(np.random.SeedSequence([seed, trial, *content]))

    def params(self, rng: np.random.Generator) -> dict[str, Array]:
        """Canonical float64 parameters.

        Raises
        ------
        UsageError
            If there is no such initialiser or it does not apply to the cell.
        """
        return initialiser(self.initialiser)(rng, self.cell, self.inputs, self.hidden)

    def sequence(self, rng: np.random.Generator, steps: int) -> Array:
        """Inputs ``(T, D)``, independent and normal with variance 1."""
        return rng.standard_normal((steps, self.inputs))

    def probes(self, rng: np.random.Generator, count: int) -> Array:
        """Orthonormal random cotangents of the last state, ``(n, k, H)``; never more than the state has dimensions."""
        n = len(self.cell.state)
        size = n * self.hidden
        columns, _ = np.linalg.qr(rng.standard_normal((size, min(count, size))))
        return columns.reshape(n, self.hidden, -1).transpose(0, 2, 1)
