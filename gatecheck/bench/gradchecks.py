"""How long the check of a full Jacobian takes, ours and PyTorch's, and how ours grows with the sizes."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from gatecheck.bench.rows import Bar, Row, Section, Step
from gatecheck.bench.timing import FEWEST, race, ratios
from gatecheck.cases import Case, draw
from gatecheck.cells import Array, Sizes, as_cell
from gatecheck.errors import BugError, MissingExtraError
from gatecheck.kernels import Builtin
from gatecheck.oracles.gradcheck import gradcheck

SIZES, QUICK_SIZES = Sizes(10, 2, 8, 16), Sizes(2, 1, 2, 2)

FASTER_THAN_FULL = 1000.0
FASTER_THAN_FAST = 1 / 3
"""What our check aims at: PyTorch's full mode takes so many times as long, and its fast mode, which looks along one direction only."""

ROUNDS = 15
SHARE = 60.0
"""Seconds that a race may take beyond its fewest rounds."""

OURS = "gatecheck.gradcheck"


def ours(case: Case) -> None:
    """Check y of our LSTM: every derivative by every parameter and by x, h0 and c0.

    Raises
    ------
    BugError
        If it does not pass.
    """
    lstm = Builtin(case.cell)

    def apart(at: dict[str, Array]) -> tuple[dict[str, Array], Array, Array, Array]:
        return {k: at[k] for k in case.params}, at["x"], at["h0"], at["c0"]

    inputs = {**case.params, "x": case["x"], "h0": case["h0"], "c0": case["c0"]}
    result = gradcheck(lambda **at: lstm.forward(*apart(at))[0], inputs, lambda dy, **at: lstm.backward(*apart(at), dy))
    if not result.ok:
        raise BugError(f"gatecheck.gradcheck does not pass our own LSTM at {case.sizes}: {result.verdict}")


def section(*, quick: bool, threads: int) -> Section:
    """The checks at one size, side by side, and ours with each size doubled."""
    sizes = QUICK_SIZES if quick else SIZES
    rounds = FEWEST if quick else ROUNDS
    notes = [f"T,B,D,H = {','.join(map(str, sizes))}, float64, {threads} thread{'s' if threads > 1 else ''}, y as a function of all inputs"]
    notes.append("PyTorch has two biases where we have one: its Jacobian is so much wider; fast mode looks along one random direction only")
    missing: dict[str, str] = {}
    steps: list[Step] = [("our gradcheck, as sizes double", partial(_doubled, sizes, rounds))]
    try:
        theirs = importlib.import_module("gatecheck.bench.in_torch_gradcheck")
        steps.insert(0, ("gradcheck, side by side", partial(_side_by_side, sizes, rounds, threads, theirs)))
    except MissingExtraError as error:
        missing["torch"] = str(error)
    return Section(
        "Gradient checking: the full Jacobian of an LSTM",
        f"that of {OURS} at these sizes",
        "derivatives",
        steps,
        missing,
        notes,
        () if missing else theirs.PACKAGES,
    )


def _case(sizes: Sizes) -> Case:
    return draw(as_cell("lstm"), sizes, seed=0, dtype="float64")


def _entries(sizes: Sizes, biases: int = 1) -> int:
    T, B, D, H = sizes
    return T * B * H * (4 * H * (D + H + biases) + T * B * D + 2 * B * H)


def _side_by_side(sizes: Sizes, rounds: int, threads: int, theirs: Any) -> Iterator[Row]:
    case = _case(sizes)
    peers = theirs.prepare(case, threads)
    fast = {f"torch gradcheck, fast_mode: {name}": partial(check, True) for name, check in peers.items()}
    full = {f"torch gradcheck: {name}": partial(check, False) for name, check in peers.items()}
    for calls, bar, least, many in ((fast, FASTER_THAN_FAST, 0.005, rounds), (full, FASTER_THAN_FULL, 0.0, FEWEST)):
        seconds = race({OURS: partial(ours, case), **calls}, rounds=many, least=least, deadline=time.perf_counter() + SHARE)
        if calls is fast:
            yield Row(OURS, float(np.median(seconds[OURS])), 1.0, number=_entries(sizes))
        for name, (median, low, high) in ratios(seconds, OURS).items():
            number = _entries(sizes, biases=2) if calls is full else None
            yield Row(name, float(np.median(seconds[name])), median, (low, high), number, Bar("ratio", bar, least=True))


def _doubled(sizes: Sizes, rounds: int) -> Iterator[Row]:
    all_sizes = {"base": sizes} | {k: sizes._replace(**{k: 2 * v}) for k, v in sizes._asdict().items()}
    calls = {name: partial(ours, _case(size)) for name, size in all_sizes.items()}
    seconds = race(calls, rounds=rounds, least=0.0, deadline=time.perf_counter() + SHARE)
    for name, (median, low, high) in ratios(seconds, "base").items():
        size = all_sizes[name]
        what = f"{OURS}, {name} doubled to {getattr(size, name)}"
        yield Row(what, float(np.median(seconds[name])), median, (low, high), _entries(size))
