"""Advice for training, in sentences computed from the measured decay."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gatecheck.cells import CELLS, as_cell
from gatecheck.decay.result import DecayResult, NetworkRow, Training

REACH_LEVEL = 1e-3
"""Share of the gradient at lag 1 below which a gradient does not reach.

It is the relative noise of a minibatch of a million.
"""

CHRONO_E_SHARE = 0.53
"""Share of Tmax at which a chrono initialization is down to 1/e.

There E₂(2k/Tmax) = 1/e².
"""


def size_at(row: NetworkRow, lag: float) -> float:
    """Return the median gradient at a lag, relative to lag 1.

    Between the measured lags its log is interpolated.
    """
    return math.exp(float(np.interp(lag, row.lags, row.curve.median)))


def keep_bias(horizon: float) -> float:
    """Return the bias b = -ln(e^(1/τ) - 1) with which a constant gate keeps 1/e.

    The horizon τ is in steps.
    """
    return -math.log(math.expm1(1 / horizon))


def advise(row: NetworkRow, lag: int | None) -> list[str]:
    """Return what a row means, in sentences.

    Parameters
    ----------
    row
        The network.
    lag
        Number of steps that the user's task reaches back, or None.
    """
    return [
        *_reach_sentences(row, lag),
        *_growth(row),
        *_truncation(row),
        *_paths(row, lag),
        *_gates(row, lag),
    ]


def compare(result: DecayResult) -> list[str]:
    """Return what the rows mean together, in sentences."""
    lag = result.spec.get("lag")
    alive = [row for row in result.rows if math.isfinite(row.rate)]
    if not alive:
        return []
    out = []
    reach = {row.name: row.lag_thousandth or math.inf for row in alive}
    best, worst = max(alive, key=_by_reach), min(alive, key=_by_reach)
    if len(alive) > 1:
        out.append(
            f"{best.name} reaches furthest, {_steps(best)}; {worst.name} least, {_steps(worst)}."
        )
    if lag is not None:
        reaching = [row.name for row in alive if reach[row.name] > lag]
        named = ", ".join(reaching) if reaching else "none of these networks"
        out.append(
            f"Your task's lag of {lag} is reached by {named} "
            f"(the gradient there is above {REACH_LEVEL:g} of that at lag 1)."
        )
    for cell in dict.fromkeys(
        row.cell for row in alive if row.cell in CELLS and "gated" in as_cell(row.cell).traits
    ):
        rows = [row for row in alive if row.cell == cell]
        short, long = min(rows, key=_by_reach), max(rows, key=_by_reach)
        if reach[long.name] > 5 * reach[short.name]:
            out.append(
                f"The same {cell} reaches {_steps(short)} as {short.name} and {_steps(long)} "
                f"as {long.name}: what it starts with decides, not the architecture."
            )
    return out


def _by_reach(row: NetworkRow) -> tuple[float, float]:
    return row.lag_thousandth or math.inf, row.rate


def _steps(row: NetworkRow) -> str:
    return (
        f"more than {row.lags[-1]} steps"
        if row.lag_thousandth is None
        else f"{row.lag_thousandth} steps"
    )


def _reach_sentences(row: NetworkRow, lag: int | None) -> Iterator[str]:
    if not math.isfinite(row.rate):
        yield "Its gradient becomes exactly zero: it learns nothing from before that."
        return
    if lag is None:
        yield f"The gradient is down to a thousandth after {_steps(row)}."
    elif lag > row.lags[-1]:
        yield f"Your lag of {lag} was not measured: steps is {row.lags[-1]}."
    else:
        size = size_at(row, lag)
        reaches = (
            "so it reaches your task's lag"
            if size >= REACH_LEVEL
            else "so it does not reach your task's lag"
        )
        yield f"At lag {lag} the gradient is {size:.1e} of that at lag 1, {reaches}."
    if row.lag_float32_zero is not None:
        yield f"In float32 it is exactly zero from lag {row.lag_float32_zero} on."


def _growth(row: NetworkRow) -> Iterator[str]:
    if math.isfinite(row.rate_low) and row.rate_low > 0:
        yield (
            f"Warning: λ₁ is {row.rate:.3g} > 0, so gradients explode, "
            f"by a factor of ten every {math.log(10) / row.rate:.0f} steps. "
            "Clip them, or start with smaller recurrent weights."
        )


def _truncation(row: NetworkRow) -> Iterator[str]:
    if row.truncation is None:
        return
    tenth, hundredth = row.truncation.K_tenth, row.truncation.K_hundredth
    if tenth is None:
        yield (
            f"Truncation at any K up to {row.truncation.K[-1]} "
            "leaves out more than 10 % of the gradient."
        )
    else:
        within = (
            f"K = {hundredth}" if hundredth is not None else f"more than K = {row.truncation.K[-1]}"
        )
        yield (
            f"Truncated backpropagation needs K = {tenth} steps "
            f"for a gradient that is 10 % off, and {within} for 1 %."
        )


def _paths(row: NetworkRow, lag: int | None) -> Iterator[str]:
    if "keep" not in row.paths:
        return
    at = min(lag or row.lag_e or row.lags[-1], row.lags[-1])
    keep, total = (float(np.interp(at, row.lags, row.paths[path])) for path in ("keep", "total"))
    if not math.isfinite(total) or not math.isfinite(keep):
        return
    share = math.exp(keep - total)
    path = "cell state" if as_cell(row.cell).kind == "lstm" else "copy"
    verdict = (
        "carries it"
        if share > 0.5
        else "carries little of it"
        if share > 0.01
        else "does not carry it: the recurrent weights do"
    )
    yield f"At lag {at} the {path} alone would hold {share:.2g} of the gradient: it {verdict}."


def _gates(row: NetworkRow, lag: int | None) -> Iterator[str]:
    if not row.time_constants:
        return
    constants = np.array(row.time_constants)
    yield (
        f"Half of its units remember for less than {np.median(constants):.3g} steps "
        f"by their gate, one in ten for more than {np.quantile(constants, 0.9):.3g}."
    )
    if lag is not None and (row.lag_e or math.inf) < lag:
        bias, Tmax = keep_bias(lag), lag / CHRONO_E_SHARE
        if as_cell(row.cell).kind == "lstm":
            gate = f"forget gate at a bias of {bias:.2f}"
        else:
            gate = (
                f"update gate at a bias of {bias:.2f} towards keeping "
                f"(in PyTorch's polarity, {-bias:.2f} where z weighs the new value)"
            )
        yield f"To keep 1/e over {lag} steps, start its {gate}, or use chrono:{Tmax:.0f}."


def describe_training(training: Training) -> list[str]:
    """Return what a training shows, in sentences."""
    before, after = (
        math.exp(float(np.interp(training.needed, training.lags, curve.median)))
        for curve in (training.before, training.after)
    )
    solved = sum(training.solved)
    return [
        f"{solved} of {len(training.solved)} networks learned it "
        f"(loss {np.median(training.final):.3g}; {training.baseline:.3g} without memory).",
        f"At the task's lag of {training.needed} the gradient was {before:.1e} "
        f"of that at lag 1 before, and is {after:.1e} after training.",
        *training.findings,
    ]
