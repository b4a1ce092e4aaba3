"""Duration of a check of a full Jacobian, ours and PyTorch's.

Ours is also timed as the sizes double.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.bench.rows import Bar, Row, Section, Step, race_rows
from gatecheck.bench.timing import MIN_ROUNDS, race
from gatecheck.cases import Case, draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.errors import BugError, MissingExtraError
from gatecheck.kernels import Builtin
from gatecheck.oracles.gradcheck import gradcheck

SIZES, QUICK_SIZES = Sizes(10, 2, 8, 16), Sizes(2, 1, 2, 2)

MIN_RATIO_FULL = 1000.0
MIN_RATIO_FAST = 1 / 3
"""Aims of our check, against the time of PyTorch's.

Its full mode should take 1000 times as long; its fast mode, which looks along one direction only, a
third.
"""

ROUNDS = 15
RACE_SECONDS = 60.0
"""Seconds that a race may take beyond its fewest rounds."""

OURS, EVERY_ORACLE = "gatecheck.gradcheck, fast", "gatecheck.gradcheck, every oracle"
"""Subject of the race, and the check by default."""

Peers = Callable[[Case], Mapping[str, Callable[[bool], None]]]


def check_ours(case: Case, fast: bool) -> None:
    """Check y of our LSTM by every parameter and by x, h0 and c0.

    Many derivatives are computed at a time.

    Raises
    ------
    BugError
        If it does not pass.
    """
    lstm = Builtin(case.cell)

    def split(at: dict[str, Array]) -> tuple[dict[str, Array], Array, Array, Array]:
        return {k: at[k] for k in case.params}, at["x"], at["h0"], at["c0"]

    def many_backward(dy: Array, **at: Array) -> dict[str, Array]:
        zeros = np.zeros_like(dy[:, 0])
        return lstm.backward_each(*split(at), dy=dy, dhT=zeros, dcT=zeros)

    result = gradcheck(
        lambda **at: lstm.forward(*split(at))[0],
        {**case.params, "x": case["x"], "h0": case["h0"], "c0": case["c0"]},
        lambda dy, **at: lstm.backward(*split(at), dy),
        fn_each=lambda name, entries, values, **at: lstm.forward_each(
            name, entries, values, *split(at)
        )[0],
        vjp_each=many_backward,
        fast=fast,
    )
    if not result.ok:
        raise BugError(
            f"gatecheck.gradcheck does not pass our own LSTM at {case.sizes}: {result.verdict}"
        )


def section(*, quick: bool, threads: int) -> Section:
    """Return the section of checks: at one size, and with each size doubled."""
    sizes = QUICK_SIZES if quick else SIZES
    rounds = 1 if quick else ROUNDS
    notes = [
        f"T,B,D,H = {','.join(map(str, sizes))}, float64, "
        f"{threads} thread{'s' if threads > 1 else ''}, y as a function of all inputs"
    ]
    notes.append(
        "fast: one central difference for each derivative, as PyTorch's full mode; "
        "many perturbations and cotangents at once"
    )
    notes.append(
        "PyTorch has two biases where we have one: its Jacobian is so much wider; "
        "fast mode looks along one random direction only"
    )
    missing: dict[str, str] = {}
    steps: list[Step] = [
        (EVERY_ORACLE, partial(_every_oracle, sizes, rounds)),
        *(
            (f"{name}, as sizes double", partial(_double_sizes, sizes, rounds, name))
            for name in (OURS, EVERY_ORACLE)
        ),
    ]
    try:
        theirs = importlib.import_module("gatecheck.bench.peers.torch_gradcheck")
        peers = partial(theirs.prepare, threads=threads)
        steps.insert(
            0, ("gradcheck, our check and fast_mode", partial(_fast, sizes, rounds, peers))
        )
        steps.insert(
            1,
            (
                "gradcheck, our check and the full mode",
                partial(_full, sizes, min(rounds, MIN_ROUNDS), peers),
            ),
        )
    except MissingExtraError as error:
        missing["torch"] = str(error)
    return Section(
        "Gradient checking: the full Jacobian of an LSTM",
        f"that of {OURS}; with a size doubled, that of the same check at these sizes",
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


def _fast(sizes: Sizes, rounds: int, peers: Peers) -> Iterator[Row]:
    case = _case(sizes)
    calls = {
        f"torch gradcheck, fast_mode: {name}": partial(check, True)
        for name, check in peers(case).items()
    }
    seconds = race(
        {OURS: partial(check_ours, case, True), **calls},
        rounds=rounds,
        least=0.005,
        deadline=time.perf_counter() + RACE_SECONDS,
    )
    yield Row(OURS, float(np.median(seconds[OURS])), 1.0, number=_entries(sizes))
    yield from race_rows(seconds, OURS, bar=Bar("ratio", MIN_RATIO_FAST, least=True))


def _full(sizes: Sizes, rounds: int, peers: Peers) -> Iterator[Row]:
    case = _case(sizes)
    calls = {
        f"torch gradcheck: {name}": partial(check, False) for name, check in peers(case).items()
    }
    seconds = race(
        {OURS: partial(check_ours, case, True), **calls},
        rounds=rounds,
        least=0.0,
        deadline=time.perf_counter() + RACE_SECONDS,
    )
    yield from race_rows(
        seconds,
        OURS,
        number=_entries(sizes, biases=2),
        bar=Bar("ratio", MIN_RATIO_FULL, least=True),
    )


def _every_oracle(sizes: Sizes, rounds: int) -> Iterator[Row]:
    calls = {name: partial(check_ours, _case(sizes), name == OURS) for name in (OURS, EVERY_ORACLE)}
    seconds = race(calls, rounds=rounds, least=0.005, deadline=time.perf_counter() + RACE_SECONDS)
    yield from race_rows(seconds, OURS, number=_entries(sizes))


def _double_sizes(sizes: Sizes, rounds: int, check: str) -> Iterator[Row]:
    all_sizes = {"base": sizes} | {
        k: sizes._replace(**{k: 2 * v}) for k, v in sizes._asdict().items()
    }
    calls = {
        name: partial(check_ours, _case(size), check == OURS) for name, size in all_sizes.items()
    }
    seconds = race(calls, rounds=rounds, least=0.0, deadline=time.perf_counter() + RACE_SECONDS)
    for row in race_rows(seconds, "base"):
        size = all_sizes[row.what]
        yield replace(
            row,
            what=f"{check}, {row.what} doubled to {getattr(size, row.what)}",
            number=_entries(size),
        )
