"""The headline table of a decay result: what each column says, as text, and as a table for the terminal."""

from __future__ import annotations

import math

from rich import box
from rich.table import Table

from gatecheck.decay.result import DecayResult, Row

COLUMNS = ("network", "rate λ₁ (95 %)", "theory", "1/2", "1/e", "1e-3", "f32 zero")


def decay_rows(result: DecayResult) -> list[dict[str, str]]:
    """The rows of the table, each a dict of text by column name; see :data:`COLUMNS`.

    Rates are in nats per step, with half the width of the 95 % interval; lags in steps. A lag that was not reached within T is "> T", and
    what is not known is "–".
    """
    return [dict(zip(COLUMNS, _cells(row), strict=True)) for row in result.rows]


def decay_table(result: DecayResult) -> Table:
    """The same as a table for a terminal of 80 columns, captioned with what was measured and the seed that repeats it."""
    sizes = f"H = {result.hidden}, D = {result.inputs}, inputs N(0, 1), T = {result.steps}, {result.seeds} seeds, --seed {result.seed}."
    legend = (
        "Rates in nats per step; lags in steps at which the gradient is down to 1/2, 1/e\n"
        "and 1e-3 of that at lag 1, and to zero in float32. Theory: at zero state without\n"
        "input; chrono: the slowest gate."
    )
    table = Table(title="How fast gradients fade with lag", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.caption, table.caption_justify = f"{sizes}\n{legend}", "left"
    for k, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if k else "left", no_wrap=True)
    for row in decay_rows(result):
        table.add_row(*row.values())
    return table


def _cells(row: Row) -> tuple[str, ...]:
    lags = (row.lag_half, row.lag_e, row.lag_thousandth, row.lag_float32_zero)
    return (
        f"{row.cell} {row.initialiser}",
        _rate(row),
        "–" if row.predicted_rate is None else f"{row.predicted_rate:#.3g}",
        *("> T" if lag is None else str(lag) for lag in lags),
    )


def _rate(row: Row) -> str:
    """The rate to the first digit of its uncertainty."""
    reach = (row.rate_high - row.rate_low) / 2
    if math.isnan(reach):
        return f"{row.rate:.3g}"
    digits = max(0, -math.floor(math.log10(reach))) if reach > 0 else 6
    return f"{row.rate:.{digits}f} ± {reach:.{digits}f}"
