"""Duration of the profile of ``gatecheck decay`` over a million steps.

It is compared with the matrix products that it contains and with PyTorch's autograd.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.bench import roofline
from gatecheck.bench.memory import free, peak
from gatecheck.bench.rows import Bar, Row, Section, Step, race_rows
from gatecheck.bench.timing import Call, race
from gatecheck.cells import Cell, Params
from gatecheck.decay.jacobians.profile import Profile, adjoint_profile
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.decay.spec import NetworkSpec
from gatecheck.decay.study.networks import PROBES, open_network
from gatecheck.errors import MissingExtraError, TargetError

CELLS = ("lstm", "gru", "rnn")
INIT = "uniform"

MIN_PRODUCTS_SHARE = 0.5
"""Smallest share of our time that the products alone should take."""

OURS, PRODUCTS = "profile", "its products alone"

LOG_NORM_TOLERANCE = 1e-6
"""Largest difference of our logs and PyTorch's, in nats.

It holds where PyTorch's norms are numbers of full precision; more than this is not rounding.
"""


class Scale(NamedTuple):
    """Lengths and widths of the section.

    They are steps, units, steps of the race, the steps at which PyTorch begins, and the seconds
    after which it is not tried at more steps.
    """

    T: int = 1_000_000
    H: int = 128
    race_steps: int = 20_000
    first_steps: int = 1_000
    patience: float = 20.0


QUICK = Scale(T=300, H=8, race_steps=100, first_steps=50, patience=0.02)
ROUNDS = 9
MEMORY_SHARE = 0.5
"""Share of the free memory that PyTorch's graph may take."""


def section(*, quick: bool, threads: int) -> Section:
    """Return the section of decay profiles.

    Profiles are compared with their products, and with autograd at twice the steps until it takes
    too long or too much memory.
    """
    scale = QUICK if quick else Scale()
    rounds = 1 if quick else ROUNDS
    cells = CELLS[:1] if quick else CELLS
    steps: list[Step] = []
    missing: dict[str, str] = {}
    packages: tuple[str, ...] = ()
    try:
        theirs = importlib.import_module("gatecheck.bench.peers.torch_decay")
        steps.append(("decay, side by side", partial(_race_autograd, scale, threads, theirs)))
        packages = theirs.PACKAGES
    except MissingExtraError as error:
        missing["torch"] = str(error)
    for cell in cells:
        steps.append(
            (f"decay, {cell}, {scale.race_steps} steps", partial(_race_short, cell, scale, rounds))
        )
        steps.append((f"decay, {cell}, {scale.T} steps", partial(_measure_long, cell, scale)))
    notes = [
        f"H = {scale.H}, float64, {threads} thread{'s' if threads > 1 else ''}, "
        f"{PROBES} cotangents of the last state",
        "products: of each step h U forward and the cotangents times Uᵀ back, and x W; "
        "by the BLAS of NumPy and SciPy, in cache",
        "a profile goes forward twice, for memory that grows with √T; "
        "autograd keeps the whole graph, and flushes subnormals to zero",
    ]
    return Section(
        "Decay: the gradient of the last state by every state",
        "that of our profile at these steps",
        "steps",
        steps,
        missing,
        notes,
        packages,
    )


class Problem(NamedTuple):
    """A network as ``gatecheck decay`` draws it, of its first trial at seed 0."""

    cell: Cell
    params: Params
    x: Array
    probes: Array

    def profile(self, progress: ReportProgress | None = None) -> Profile:
        """Return the profile that ``gatecheck decay`` measures of it in any case."""
        return adjoint_profile(self.cell, self.params, self.x, self.probes, progress=progress)

    def products(self) -> Callable[[int], None]:
        """Return a call that computes the matrix products of a number of steps.

        See :func:`gatecheck.bench.roofline.profile_products`.
        """
        _, k, H = self.probes.shape
        return roofline.profile_products(self.cell, self.x.shape[1], H, k)


def draw_problem(cell: str, T: int, H: int) -> Problem:
    """Draw the problem of a cell at PyTorch's initialization."""
    network = open_network(NetworkSpec(cell, INIT, hidden=H), T, 1)
    rng = network.generator(0, 0)
    params = network.params(rng)
    x = network.sequence(rng, T, 0)
    return Problem(network.cell, params, x, network.probes(rng, PROBES))


def _race_short(cell: str, scale: Scale, rounds: int) -> Iterator[Row]:
    drawn = draw_problem(cell, scale.race_steps, scale.H)
    calls: dict[str, Call] = {
        OURS: drawn.profile,
        PRODUCTS: partial(drawn.products(), scale.race_steps),
    }
    yield from _rows(drawn, race(calls, rounds=rounds, least=0.0))


def _measure_long(cell: str, scale: Scale) -> Iterator[Row]:
    """Measure one profile, in turns with the products of its segments.

    So what slows the machine for a while slows both.
    """
    drawn, spent, done = draw_problem(cell, scale.T, scale.H), 0.0, 0
    products = drawn.products()

    def tick(now: int, total: int) -> None:
        nonlocal spent, done
        due = now * scale.T // total
        start = time.perf_counter()
        products(due - done)
        spent += time.perf_counter() - start
        done = due

    start = time.perf_counter()
    drawn.profile(tick)
    seconds = time.perf_counter() - start - spent
    yield from _rows(
        drawn, {OURS: [seconds], PRODUCTS: [spent]}, Bar("ratio", MIN_PRODUCTS_SHARE, least=True)
    )


def _rows(
    drawn_problem: Problem, seconds: Mapping[str, Sequence[float]], bar: Bar | None = None
) -> Iterator[Row]:
    T, name = len(drawn_problem.x), drawn_problem.cell.name
    yield Row(f"{OURS}, {name}, {T:,} steps", float(np.median(seconds[OURS])), 1.0, number=T)
    for row in race_rows(seconds, OURS, number=T, bar=bar):
        yield replace(row, what=f"{row.what}, {name}, {T:,} steps")


def _race_autograd(scale: Scale, threads: int, theirs: Any) -> Iterator[Row]:
    T, before = scale.first_steps, peak()
    while True:
        drawn = draw_problem("lstm", T, scale.H)
        call = theirs.prepare(drawn.cell, drawn.params, drawn.x, drawn.probes, threads)
        if scale.first_steps == T:
            _require_agreement(drawn.profile().log_norm, call())
        seconds = race({"ours": drawn.profile, "theirs": call}, rounds=1, least=0.0, warm=False)
        duration = seconds["theirs"][0]
        growth = peak() - before
        reason = ""
        if duration > scale.patience:
            reason = f"twice as many would take more than {2 * scale.patience:g} s"
        elif 2 * growth > MEMORY_SHARE * free():
            reason = f"it takes {growth / 2**30:.1f} GiB, and twice as many steps more than is free"
        yield Row(f"profile, lstm, {T:,} steps", seconds["ours"][0], 1.0, number=T)
        what = f"torch autograd, loop over LSTMCell, {T:,} steps" + (
            f", the most: {reason}" if reason else ""
        )
        for row in race_rows(seconds, "ours", number=T):
            yield replace(row, what=what)
        if reason:
            return
        T *= 2


def _require_agreement(ours: Array, theirs: Array) -> None:
    comparable = ours > -300  # squares of smaller norms leave the range of float64
    difference = float(np.abs(ours - theirs)[comparable].max())
    if not difference <= LOG_NORM_TOLERANCE:
        raise TargetError(
            f"PyTorch's gradients by lag and ours are up to {difference:.1e} nats apart: "
            "one of the two is wrong"
        )
