"""Which networks a study is about: a cell at an initialisation or with trained weights, on random
inputs or on the user's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, as_cell, without_options
from gatecheck.cells.initializers import initialiser
from gatecheck.decay.jacobians.target_profile import check_target
from gatecheck.decay.spec import NetworkSpec
from gatecheck.decay.study.sequences import read_sequences, windows
from gatecheck.errors import InputError, UsageError
from gatecheck.implementation import Subject
from gatecheck.implementation.custom import CustomSubject
from gatecheck.targets import loading
from gatecheck.weights import load

# With 16 of 256 directions the estimated norm of a rank-one product is 3 % low on average
# (statistics.probe_offset) and scatters by 18 %, less than seeds do.
PROBES = 16

ALONE = "the profile alone is measured, by its own backward"


@dataclass(frozen=True)
class Network:
    """One network of a study.

    Attributes
    ----------
    entry
        What the spec says of it.
    cell, hidden, inputs
        What it is. Of a target that is a cell of its own, `hidden` is how many numbers its states
        are together, and `inputs` how many a step of x is.
    trained
        Canonical float64 parameters, if they are from a file.
    sequences
        ``(M, T, D)``, if they are the user's own.
    target
        What runs it, if that is not ours.
    notes
        What was assumed of it, in sentences.
    """

    entry: NetworkSpec
    cell: Any
    hidden: int
    inputs: int
    trained: Mapping[str, Array] | None = None
    sequences: Array | None = None
    target: Subject | CustomSubject | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How tables and progress bars call it."""
        weights = Path(self.entry.weights).name if self.entry.weights else None
        return " ".join(
            filter(
                None,
                (str(self.cell), self.entry.target, self.entry.init, weights, self.entry.layer),
            )
        )

    @property
    def size(self) -> int:
        """How many numbers its state is."""
        return self.hidden * len(self.cell.state) if isinstance(self.cell, Cell) else self.hidden

    def generator(self, seed: int, trial: int) -> np.random.Generator:
        """The source of everything random in one trial.

        It depends on what the network is, the run's seed and the trial's number, so not on what
        else a study measures or in which order.
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
        if self.entry.init is None:  # a cell of its own draws them itself
            return {}
        return initialiser(str(self.entry.init))(rng, self.cell, self.inputs, self.hidden)

    def sequence(self, rng: np.random.Generator, steps: int, trial: int) -> Array:
        """Inputs ``(T, D)`` of one trial: independent and normal, or a stretch of the user's own
        that no other trial has.
        """
        if self.sequences is not None:
            own: Array = self.sequences[trial]
            return own
        return self.entry.input_std * rng.standard_normal((steps, self.inputs))

    def probes(self, rng: np.random.Generator, count: int) -> Array:
        """Orthonormal random cotangents of the last state, ``(n, k, H)``; never more than the state
        has dimensions.
        """
        n = len(self.cell.state)
        return orthonormal(rng, self.size, count).reshape(n, self.hidden, -1).transpose(0, 2, 1)


def orthonormal(rng: np.random.Generator, size: int, count: int) -> Array:
    """Random orthonormal columns ``(size, k)``, as many as are wanted and possible."""
    columns, _ = np.linalg.qr(rng.standard_normal((size, min(count, size))))
    return columns


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
        If there is no such cell or layer, the initialiser does not apply to the cell, or decay is
        not measured of the cell.
    WeightsFileError, InputError
        If a file cannot be read, or the data do not suffice.
    """
    network = _described(entry) if entry.target is None else _of_target(entry)
    if entry.data is None:
        return network
    cut = windows(read_sequences(entry.data, network.inputs), steps)
    if len(cut) < seeds:
        raise InputError(
            f"{entry.data} gives {len(cut)} stretches of {steps} steps, but there are {seeds} seeds, and each needs its own"
        )
    return replace(network, sequences=cut)


def _described(entry: NetworkSpec) -> Network:
    """As the entry says, or the file of weights."""
    if entry.weights is None:
        network = Network(
            entry,
            without_options(as_cell(str(entry.cell)), "decay measures"),
            entry.hidden,
            entry.inputs,
        )
        initialiser(str(entry.init))(np.random.default_rng(0), network.cell, 1, 1)
        return network
    layer = load(entry.weights, cell=entry.cell, convention=entry.convention, layer=entry.layer)
    return Network(
        entry,
        without_options(layer.cell, "decay measures"),
        layer.H,
        layer.D,
        layer.params,
        notes=layer.notes,
    )


def _of_target(entry: NetworkSpec) -> Network:
    name = str(entry.target)
    # What a file of weights is spelled in is its own affair.
    its = loading.load(
        name, cell=entry.cell, convention=None if entry.weights else entry.convention
    )
    check_target(its)
    if isinstance(its, CustomSubject):
        for key in ("init", "weights", "convention"):
            if getattr(entry, key) is not None:
                raise UsageError(
                    f"{name} is a cell of its own, which draws its own parameters; leave {key} out"
                )
        example = its.example(0, its.dtypes[0])
        hidden, inputs = (
            sum(a.size for a in arrays)
            for arrays in ([example[s] for s in example.states], [example["x"][:1]])
        )
        return Network(entry, its.cell, hidden, inputs, target=its, notes=(ALONE,))
    if its.undeclared and getattr(its.target, "shapes", None) is not None:
        raise UsageError(
            f"{name} declares no convention: give it, as a convention that `gatecheck audit {name}` finds"
        )
    if entry.weights is None:
        entry = replace(entry, init=entry.init or "uniform")
    network = _described(replace(entry, cell=its.cell.name))
    if network.cell != its.cell:
        raise UsageError(
            f"{name} is a {its.cell}, but the layer in {entry.weights} is a {network.cell}"
        )
    notes = (ALONE, *its.narrowings, *network.notes)
    return replace(network, entry=entry, target=its, notes=notes)


def file_digests(entry: NetworkSpec) -> dict[str, str]:
    """What is in the files of an entry: a result from other contents is another result."""
    program = loading.file_of(entry.target) if entry.target is not None else None
    named = {"weights": entry.weights, "data": entry.data, "target": program}
    return {
        key: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for key, path in named.items()
        if path is not None
    }
