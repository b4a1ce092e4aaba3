"""Networks of a study: a cell, its parameters and its inputs.

The parameters are initial or trained ones; the inputs are random or the user's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.plain_files import open_plain
from gatecheck._util.typing import Array
from gatecheck.cells import Cell, as_cell, require_plain_cell
from gatecheck.cells.initializers import initializer
from gatecheck.decay.jacobians.target_profile import check_target
from gatecheck.decay.spec import NetworkSpec
from gatecheck.decay.study.sequences import cut_windows, read_sequences
from gatecheck.errors import InputError, UsageError
from gatecheck.implementation import Subject
from gatecheck.implementation.custom import CustomSubject
from gatecheck.targets import loading
from gatecheck.weights import load

# With 16 of 256 directions the estimated norm of a rank-one product is 3 % low on average
# (statistics.probe_offset) and scatters by 18 %, less than seeds do.
PROBES = 16

PROFILE_ONLY_NOTE = "the profile alone is measured, by its own backward"


@dataclass(frozen=True)
class Network:
    """One network of a study.

    Attributes
    ----------
    entry
        Its entry in the spec.
    cell, hidden, inputs
        Cell, hidden size and input size. For a custom cell, `hidden` is the number of entries of
        all its states together, and `inputs` that of one step of x.
    file_params
        Canonical float64 parameters, if they are from a file.
    sequences
        ``(M, T, D)``, if they are the user's own.
    target
        Target that runs it, or None for our own code.
    notes
        Assumptions about it, in sentences.
    """

    entry: NetworkSpec
    cell: Any
    hidden: int
    inputs: int
    file_params: Mapping[str, Array] | None = None
    sequences: Array | None = None
    target: Subject | CustomSubject | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name for tables and progress bars."""
        weights = Path(self.entry.weights).name if self.entry.weights else None
        return " ".join(
            filter(
                None,
                (str(self.cell), self.entry.target, self.entry.init, weights, self.entry.layer),
            )
        )

    @property
    def size(self) -> int:
        """Number of entries of its state."""
        return self.hidden * len(self.cell.state) if isinstance(self.cell, Cell) else self.hidden

    def generator(self, seed: int, trial: int) -> np.random.Generator:
        """Return the generator of everything random in one trial.

        It depends on the network, the run's seed and the trial's number, so not on what else a
        study measures or in which order.
        """
        content = hashlib.sha256(f"{self.name} {self.hidden} {self.inputs}".encode()).digest()
        return np.random.default_rng(np.random.SeedSequence([seed, trial, *content]))

    def params(self, rng: np.random.Generator) -> Mapping[str, Array]:
        """Return canonical float64 parameters.

        Raises
        ------
        UsageError
            If the initializer does not apply to the cell.
        """
        if self.file_params is not None:
            return self.file_params
        if self.entry.init is None:  # a custom cell draws them itself
            return {}
        return initializer(str(self.entry.init))(rng, self.cell, self.inputs, self.hidden)

    def sequence(self, rng: np.random.Generator, steps: int, trial: int) -> Array:
        """Return the inputs ``(T, D)`` of one trial.

        They are independent and normal, or a window of the user's sequences that no other trial
        has.
        """
        if self.sequences is not None:
            window: Array = self.sequences[trial]
            return window
        return self.entry.input_std * rng.standard_normal((steps, self.inputs))

    def probes(self, rng: np.random.Generator, count: int) -> Array:
        """Return random orthonormal cotangents of the last state, ``(n, k, H)``.

        They are never more than the state has dimensions.
        """
        n = len(self.cell.state)
        return (
            orthonormal_columns(rng, self.size, count)
            .reshape(n, self.hidden, -1)
            .transpose(0, 2, 1)
        )


def orthonormal_columns(rng: np.random.Generator, size: int, count: int) -> Array:
    """Return random orthonormal columns ``(size, k)`` with k = min(count, size)."""
    columns, _ = np.linalg.qr(rng.standard_normal((size, min(count, size))))
    return columns


def open_network(entry: NetworkSpec, steps: int, seeds: int) -> Network:
    """Return the network of an entry, and read its files.

    Parameters
    ----------
    entry
        Entry of a spec.
    steps, seeds
        Required length and number of the sequences.

    Raises
    ------
    UsageError
        If there is no such cell or layer, the initializer does not apply to the cell, or decay is
        not measured for the cell.
    WeightsFileError, InputError
        If a file cannot be read, or the data do not suffice.
    """
    network = _network_of_entry(entry) if entry.target is None else _network_of_target(entry)
    if entry.data is None:
        return network
    sequences = cut_windows(read_sequences(entry.data, network.inputs), steps)
    if len(sequences) < seeds:
        raise InputError(
            f"{entry.data} gives {len(sequences)} stretches of {steps} steps, "
            f"but there are {seeds} seeds, and each needs its own"
        )
    return replace(network, sequences=sequences)


def _network_of_entry(entry: NetworkSpec) -> Network:
    """Return the network that an entry, or its file of weights, describes."""
    if entry.weights is None:
        network = Network(
            entry,
            require_plain_cell(as_cell(str(entry.cell)), "decay measures"),
            entry.hidden,
            entry.inputs,
        )
        initializer(str(entry.init))(np.random.default_rng(0), network.cell, 1, 1)
        return network
    layer = load(entry.weights, cell=entry.cell, convention=entry.convention, layer=entry.layer)
    return Network(
        entry,
        require_plain_cell(layer.cell, "decay measures"),
        layer.H,
        layer.D,
        layer.params,
        notes=layer.notes,
    )


def _network_of_target(entry: NetworkSpec) -> Network:
    name = str(entry.target)
    # The convention of an entry with weights is that of their file, not the target's.
    subject = loading.load(
        name, cell=entry.cell, convention=None if entry.weights else entry.convention
    )
    check_target(subject)
    if isinstance(subject, CustomSubject):
        for key in ("init", "weights", "convention"):
            if getattr(entry, key) is not None:
                raise UsageError(
                    f"{name} is a custom cell, which draws its own parameters; leave {key} out"
                )
        example = subject.example(0, subject.dtypes[0])
        hidden, inputs = (
            sum(a.size for a in arrays)
            for arrays in ([example[s] for s in example.states], [example["x"][:1]])
        )
        return Network(
            entry, subject.cell, hidden, inputs, target=subject, notes=(PROFILE_ONLY_NOTE,)
        )
    if subject.convention_assumed and subject.has_shapes:
        raise UsageError(
            f"{name} declares no convention: give the one that `gatecheck audit {name}` finds"
        )
    if entry.weights is None:
        entry = replace(entry, init=entry.init or "uniform")
    network = _network_of_entry(replace(entry, cell=subject.cell.name))
    if network.cell != subject.cell:
        raise UsageError(
            f"{name} is a {subject.cell}, but the layer in {entry.weights} is a {network.cell}"
        )
    notes = (PROFILE_ONLY_NOTE, *subject.limitations, *network.notes)
    return replace(network, entry=entry, target=subject, notes=notes)


def file_digests(entry: NetworkSpec) -> dict[str, str]:
    """Return digests of an entry's files, on whose contents the result depends."""
    program = loading.target_file(entry.target) if entry.target is not None else None
    files = {"weights": entry.weights, "data": entry.data, "target": program}
    return {key: _digest(path) for key, path in files.items() if path is not None}


def _digest(path: str | Path) -> str:
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
