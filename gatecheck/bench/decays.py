"""How long the profile of ``gatecheck decay`` takes over a million steps, against the products it is made of and PyTorch's autograd."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatecheck.bench import floors
from gatecheck.bench.memory import free, peak
from gatecheck.bench.rows import Bar, Row, Section, Step, compared
from gatecheck.bench.timing import Call, race
from gatecheck.cells import Array, Cell, Params
from gatecheck.decay.networks import PROBES, opened
from gatecheck.decay.profile import Profile, adjoint_profile
from gatecheck.decay.spec import NetworkSpec
from gatecheck.errors import MissingExtraError, TargetError

CELLS = ("lstm", "gru", "rnn")
INIT = "uniform"

OF_PRODUCTS = 0.5
"""What we aim at: the products alone take at least this share of our time."""

RESOLVED = 1e-6
"""How far apart our logs and PyTorch's may be, in nats, where its norms are numbers of full precision; what is more is no rounding."""


class Scale(NamedTuple):
    """How long and wide: steps, units, steps of the race; where PyTorch begins, and the seconds after which it is asked for no more."""

    T: int = 1_000_000
    H: int = 128
    short: int = 20_000
    begin: int = 1_000
    patience: float = 20.0


QUICK = Scale(T=300, H=8, short=100, begin=50, patience=0.02)
ROUNDS = 9
MEMORY = 0.5
"""The share of the free memory that PyTorch's graph may take."""


def section(*, quick: bool, threads: int) -> Section:
    """Profiles against their products, and against autograd at twice the steps until it takes too long or too much."""
    scale = QUICK if quick else Scale()
    rounds = 1 if quick else ROUNDS
    cells = CELLS[:1] if quick else CELLS
    steps: list[Step] = []
    missing: dict[str, str] = {}
    packages: tuple[str, ...] = ()
    try:
        theirs = importlib.import_module("gatecheck.bench.in_torch_decay")
        steps.append(("decay, side by side", partial(_against, scale, threads, theirs)))
        packages = theirs.PACKAGES
    except MissingExtraError as error:
        missing["torch"] = str(error)
    for cell in cells:
        steps.append((f"decay, {cell}, {scale.short} steps", partial(_short, cell, scale, rounds)))
        steps.append((f"decay, {cell}, {scale.T} steps", partial(_long, cell, scale)))
    notes = [
        f"H = {scale.H}, float64, {threads} thread{'s' if threads > 1 else ''}, {PROBES} cotangents of the last state",
        "products: of each step h U forward and the cotangents times Uᵀ back, and x W; by the BLAS of NumPy and SciPy, in cache",
        "a profile goes forward twice, for memory that grows with √T",
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
    start: Array

    def profile(self) -> Profile:
        """What ``gatecheck decay`` measures of it, whatever else it is asked for."""
        return adjoint_profile(self.cell, self.params, self.x, self.start)

    def products(self) -> Call:
        """The matrix products of a profile, with the state and the gradients kept from the way forward."""
        (T, D), (_, k, H) = self.x.shape, self.start.shape
        return floors.profile_products(self.cell, T, D, H, k)


def problem(cell: str, T: int, H: int) -> Problem:
    """Of a cell at PyTorch's initialisation."""
    network = opened(NetworkSpec(cell, INIT, hidden=H), T, 1)
    rng = network.generator(0, 0)
    params = network.params(rng)
    x = network.sequence(rng, T, 0)
    return Problem(network.cell, params, x, network.probes(rng, PROBES))


def _short(cell: str, scale: Scale, rounds: int) -> Iterator[Row]:
    asked = problem(cell, scale.short, scale.H)
    yield from _raced(asked, rounds, warm=True)


def _long(cell: str, scale: Scale) -> Iterator[Row]:
    asked = problem(cell, scale.T, scale.H)
    yield from _raced(asked, 1, warm=False)


def _raced(asked: Problem, rounds: int, *, warm: bool) -> Iterator[Row]:
    T, ours = len(asked.x), f"profile, {asked.cell}"
    seconds = race({ours: asked.profile, "its products alone": asked.products()}, rounds=rounds, least=0.0, warm=warm)
    yield Row(f"{ours}, {T:,} steps", float(np.median(seconds[ours])), 1.0, number=T)
    bar = None if warm else Bar("ratio", OF_PRODUCTS, least=True)
    for row in compared(seconds, ours, number=T, bar=bar):
        yield replace(row, what=f"{row.what}, {asked.cell}, {T:,} steps")


def _against(scale: Scale, threads: int, theirs: Any) -> Iterator[Row]:
    T, before = scale.begin, peak()
    while True:
        asked = problem("lstm", T, scale.H)
        call = theirs.prepare(asked.cell, asked.params, asked.x, asked.start, threads)
        if scale.begin == T:
            _agree(asked.profile().log_norm, call())
        seconds = race({"ours": asked.profile, "theirs": call}, rounds=1, least=0.0, warm=False)
        taken = seconds["theirs"][0]
        grown = peak() - before
        reason = ""
        if taken > scale.patience:
            reason = f"twice as many would take more than {2 * scale.patience:g} s"
        elif 2 * grown > MEMORY * free():
            reason = f"it takes {grown / 2**30:.1f} GiB, and twice as many steps more than is free"
        yield Row(f"profile, lstm, {T:,} steps", seconds["ours"][0], 1.0, number=T)
        what = f"torch autograd, loop over LSTMCell, {T:,} steps" + (f", the most: {reason}" if reason else "")
        for row in compared(seconds, "ours", number=T):
            yield replace(row, what=what)
        if reason:
            return
        T *= 2


def _agree(ours: Array, theirs: Array) -> None:
    seen = ours > -300  # squares of smaller norms leave the range of float64
    apart = float(np.abs(ours - theirs)[seen].max())
    if not apart <= RESOLVED:
        raise TargetError(f"PyTorch's gradients by lag and ours are up to {apart:.1e} nats apart: one of the two is wrong")
