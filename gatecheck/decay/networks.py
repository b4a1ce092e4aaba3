"""Which networks a study is about: a cell at an initialisation or with trained weights, on random inputs or on the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatecheck.cells import Cell, as_cell, without_options
from gatecheck.decay.data import read_sequences, windows
from gatecheck.decay.spec import NetworkSpec
from gatecheck.errors import InputError
from gatecheck.initialisers import initialiser
from gatecheck.weights import load

Array = NDArray[Any]


@dataclass(frozen=True)
class Network:
    """One network of a study.

    Attributes
    ----------
    entry
        What the spec says of it.
    cell, hidden, inputs
        What it is.
    trained
        Canonical float64 parameters, if they are from a file.
    sequences
        ``(M, T, D)``, if they are the user's own.
    """

    entry: NetworkSpec
    cell: Cell
    hidden: int
    inputs: int
    trained: Mapping[str, Array] | None = None
    sequences: Array | None = None

    @property
    def name(self) -> str:
        """How tables and progress bars call it."""
        source = self.entry.init or " ".join(filter(None, (Path(str(self.entry.weights)).name, self.entry.layer)))
        return f"{self.cell} {source}"

    def generator(self, seed: int, trial: int) -> np.random.Generator:
        """The source of everything random in one trial.

        It depends on what the network is, the run's seed and the trial's number, so not on what else a study measures or in which
        order.
        """
        content = hashlib.sha256(f"{self.name} {self.hidden} {self.inputs}".encode()).digest()
        return np.random.default_rng(np.random.SeedSequence([seed, trial, *content]))

    def params(self, rng: np.random.Generator) -> Mapping[str, Array]:
        """Canonical float64 parameters.

        Raises
        ------
        UsageError
            If the initialiser does not apply to the cell.
        """
        if self.trained is not None:
            return self.trained
        return initialiser(str(self.entry.init))(rng, self.cell, self.inputs, self.hidden)

    def sequence(self, rng: np.random.Generator, steps: int, trial: int) -> Array:
        """Inputs ``(T, D)`` of one trial: independent and normal, or a stretch of the user's own that no other trial has."""
        if self.sequences is not None:
            own: Array = self.sequences[trial]
            return own
        return self.entry.input_std * rng.standard_normal((steps, self.inputs))

    def probes(self, rng: np.random.Generator, count: int) -> Array:
        """Orthonormal random cotangents of the last state, ``(n, k, H)``; never more than the state has dimensions."""
        n = len(self.cell.state)
        size = n * self.hidden
        columns, _ = np.linalg.qr(rng.standard_normal((size, min(count, size))))
        return columns.reshape(n, self.hidden, -1).transpose(0, 2, 1)


def opened(entry: NetworkSpec, steps: int, seeds: int) -> Network:
    """The network of an entry, its files read.

    Parameters
    ----------
    entry
        From a spec.
    steps, seeds
        How long and how many the sequences have to be.

    Raises
    ------
    UsageError
        If there is no such cell or layer, the initialiser does not apply to the cell, or decay is not measured of the cell.
    WeightsFileError, InputError
        If a file cannot be read, or the data do not suffice.
    """
    if entry.weights is None:
        network = Network(entry, without_options(as_cell(str(entry.cell)), "decay measures"), entry.hidden, entry.inputs)
        initialiser(str(entry.init))(np.random.default_rng(0), network.cell, 1, 1)
    else:
        layer = load(entry.weights, cell=entry.cell, convention=entry.convention, layer=entry.layer)
        D, H = layer.params["W"].shape[0], layer.params["U"].shape[0]
        network = Network(entry, without_options(layer.cell, "decay measures"), H, D, layer.params)
    if entry.data is None:
        return network
    cut = windows(read_sequences(entry.data, network.inputs), steps)
    if len(cut) < seeds:
        raise InputError(f"{entry.data} gives {len(cut)} stretches of {steps} steps, but there are {seeds} seeds, and each needs its own")
    return Network(entry, network.cell, network.hidden, network.inputs, network.trained, cut)


def file_digests(entry: NetworkSpec) -> dict[str, str]:
    """What is in the files of an entry: a result from other contents is another result."""
    named = {"weights": entry.weights, "data": entry.data}
    return {key: hashlib.sha256(Path(path).read_bytes()).hexdigest() for key, path in named.items() if path is not None}
