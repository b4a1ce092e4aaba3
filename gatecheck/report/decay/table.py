"""Headline table of a decay result, as text and for the terminal."""

from __future__ import annotations

import math

from rich import box
from rich.table import Table

from gatecheck.decay.result import DecayResult, NetworkRow

TERMINAL_COLUMNS = ("network", "rate λ₁ (95 %)", "theory", "1/2", "1/e", "1e-3", "f32 zero")
PAGE_COLUMNS = ("kind", "K at 10 %", "K at 1 %")
"""Columns that do not fit in a terminal."""

LEGEND = (
    "Rates in nats per step; lags in steps at which the gradient is down to 1/2, 1/e and 1e-3 of "
    "that at lag 1, and to zero in float32. Theory: the mean field of a tanh RNN; of a GRU or LSTM "
    "the spectral edge at zero state without input; chrono: the slowest gate."
)


def decay_rows(result: DecayResult) -> list[dict[str, str]]:
    """Return the rows of the table, each a dict of text by column name.

    Columns are :data:`TERMINAL_COLUMNS` and :data:`PAGE_COLUMNS`. Rates are in nats per step, with
    half the width of the 95 % interval; lags in steps. A lag not reached within T is "> T", an
    unknown value "–".
    """
    return [
        dict(zip((*TERMINAL_COLUMNS, *PAGE_COLUMNS), _cells(row), strict=True))
        for row in result.rows
    ]


def settings_line(result: DecayResult) -> str:
    """Return the settings of a study, with the seed that repeats it."""
    sizes = {(row.hidden, row.inputs) for row in result.rows}
    H, D = ("–".join(map(str, sorted({min(each), max(each)}))) for each in zip(*sizes, strict=True))
    data = {row.network.get("data") for row in result.rows}
    std = {row.network.get("input_std", 1.0) for row in result.rows}
    drawn_inputs = (
        f"inputs N(0, {', '.join(f'{s * s:g}' for s in sorted(std))})" if None in data else ""
    )
    data_files = ", ".join(sorted(d for d in data if d))
    inputs = " and ".join(
        filter(None, (drawn_inputs, f"inputs from {data_files}" if data_files else ""))
    )
    spec = result.spec
    return (
        f"H = {H}, D = {D}, {inputs}, T = {spec['steps']}, "
        f"{spec['seeds']} seeds, --seed {spec['seed']}."
    )


def decay_table(result: DecayResult) -> Table:
    """Return the table for a terminal of 80 columns, with settings in the caption."""
    table = Table(
        title="How fast gradients fade with lag", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.caption, table.caption_justify = f"{settings_line(result)}\n{LEGEND}", "left"
    rows = decay_rows(result)
    table.add_column(TERMINAL_COLUMNS[0], overflow="fold")
    # in a narrow terminal, names wrap and numbers stay whole
    for name in TERMINAL_COLUMNS[1:]:
        table.add_column(
            name,
            justify="right",
            no_wrap=True,
            min_width=max(len(name), *(len(row[name]) for row in rows)),
        )
    for row in rows:
        table.add_row(*(row[name] for name in TERMINAL_COLUMNS))
    return table


def network_notes(result: DecayResult) -> list[tuple[str, str]]:
    """Return the notes on each network, such as assumptions and omissions."""
    return [(row.name, note) for row in result.rows for note in row.notes]


def format_lag(lag: int | None) -> str:
    """Format a lag; None is beyond the measured steps."""
    return "> T" if lag is None else str(lag)


def _cells(row: NetworkRow) -> tuple[str, ...]:
    lags = (row.lag_half, row.lag_e, row.lag_thousandth, row.lag_float32_zero)
    truncation_lags = (
        ("–", "–")
        if row.truncation is None
        else (format_lag(row.truncation.K_tenth), format_lag(row.truncation.K_hundredth))
    )
    return (
        row.name,
        _format_rate(row),
        f"{row.theory[0].rate:#.3g}" if row.theory else "–",
        *map(format_lag, lags),
        row.kind,
        *truncation_lags,
    )


def _format_rate(row: NetworkRow) -> str:
    """Format the rate to the first digit of its uncertainty."""
    half_width = (row.rate_high - row.rate_low) / 2
    if math.isnan(half_width):
        return f"{row.rate:.3g}"
    digits = max(0, -math.floor(math.log10(half_width))) if half_width > 0 else 6
    return f"{row.rate:.{digits}f} ± {half_width:.{digits}f}"
