"""Gate statistics: mean, saturation, histogram, and time constants of the units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.decay.jacobians.sweep import Run, Segment

CLOSED = 0.1
OPEN = 0.9
BINS = 50

GATE_ROWS: Mapping[str, Mapping[str, Callable[[Array], Array]]] = {
    "rnn": {},
    "gru": {"r": lambda J: J[:, 4], "z": lambda J: 1 - J[:, 0]},
    "lstm": {"i": lambda J: J[:, 6], "f": lambda J: J[:, 0], "o": lambda J: J[:, 7]},
}
"""Gates of each kind of cell, as functions of the rows of its linearization."""


class GateCounts(NamedTuple):
    """Statistics of one gate over all units and steps.

    Attributes
    ----------
    mean
        Mean value.
    closed, open
        Shares of values below :data:`CLOSED` and above :data:`OPEN`, where the gate counts as
        saturated.
    counts
        ``(BINS,)``: Number of values in each of equal bins of [0, 1].
    """

    mean: float
    closed: float
    open: float
    counts: Array


class GateSummary(NamedTuple):
    """Gates by name, and the time constants ``(H,)`` of the units, in steps.

    The latter are None in a cell that keeps nothing. A unit's time constant is -1 / mean ln k of
    its keeping gate k, f or 1 - z: inf where the gate is 1 throughout, 0 where it was ever 0. It is
    the memory along the kept state alone; the recurrence may hold more.
    """

    by_name: dict[str, GateCounts]
    time_constants: Array | None


class GateStatistics:
    """Visitor of the forward pass that adds up gate statistics.

    It keeps sums, never the gates of a whole sequence.
    """

    def __init__(self, run: Run) -> None:
        self._read = GATE_ROWS[run.cell.kind]
        H = run.state.shape[1]
        self._values = len(run.x) * H
        self._steps = len(run.x)
        self._sums = {name: np.zeros(3) for name in self._read}
        self._counts = {name: np.zeros(BINS, dtype=np.int64) for name in self._read}
        self._log_keep = np.zeros(H)
        self.state_arrays: dict[str, Array] = {"log_keep": self._log_keep}
        self.state_arrays |= {f"sums {name}": sums for name, sums in self._sums.items()}
        self.state_arrays |= {f"counts {name}": counts for name, counts in self._counts.items()}

    def __call__(self, stretch: Segment) -> None:
        """Add one segment."""
        for name, read in self._read.items():
            gate = read(stretch.J)
            self._sums[name] += (
                gate.sum(),
                np.count_nonzero(gate < CLOSED),
                np.count_nonzero(gate > OPEN),
            )
            self._counts[name] += np.histogram(gate, BINS, (0, 1))[0]
        with np.errstate(divide="ignore"):  # a plain RNN keeps exactly nothing
            self._log_keep += np.log(stretch.J[:, 0]).sum(axis=0)

    def result(self) -> GateSummary:
        """Return the statistics after the pass; NaN for an empty sequence."""
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = {name: sums / self._values for name, sums in self._sums.items()}
            time_constants = np.abs(self._steps / self._log_keep)
        by_name = {
            name: GateCounts(float(mean), float(closed), float(open_), self._counts[name])
            for name, (mean, closed, open_) in shares.items()
        }
        return GateSummary(by_name, time_constants if self._read else None)
