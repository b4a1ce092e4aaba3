"""Faults of coupled gates, hard sigmoids and the forget bias."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gatecheck.cells import Cell
from gatecheck.faults.edits import both, misread, other, replaced
from gatecheck.faults.tables.readings import EditRow, earlier
from gatecheck.reference import Equations
from gatecheck.reference.equations import Equation, sigmoid


def gate(cell: Cell, a: Any) -> Any:
    return sigmoid(a) if cell.hard is None else np.minimum(np.maximum(a / cell.hard + 0.5, 0), 1)


def coupled(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of i = 1 - f."""
    yield (
        "i is f",
        "The input gate is the forget gate instead of its complement.",
        replaced(i=other("f")),
    )
    yield "i is 1", "The candidate enters ungated.", replaced(i=lambda s: 1 + 0 * s.f)
    yield (
        "i is 1 - f of the step before",
        "The input gate is the complement of an old forget gate.",
        misread("i", f=earlier("f")),
    )
    yield (
        "i is σ(-f)",
        "The input gate is the sigmoid of -f instead of that of -a_f.",
        replaced(i=lambda s: sigmoid(-s.f)),
    )
    if not cell.peepholes:  # then o is computed after c
        yield (
            "i is 1 - o",
            "The input gate is the complement of the output gate.",
            replaced(i=lambda s: 1 - sigmoid(s.a_o)),
        )
    yield (
        "f is 1 - i in c",
        "The forget gate enters the cell state where its complement belongs.",
        misread("c", f=other("i"), i=other("f")),
    )
    yield (
        "df without the share of i",
        "The gradient of f leaves out that through i = 1 - f.",
        replaced(df=lambda s: s.dc * s.c_prev),
    )
    yield (
        "df without the share of f",
        "The gradient of f is that through i = 1 - f alone.",
        replaced(df=lambda s: -s.dc * s.g),
    )
    yield (
        "df: sign of the share of i",
        "The gradient through i = 1 - f has the wrong sign.",
        replaced(df=lambda s: s.dc * (s.c_prev + s.g)),
    )
    yield (
        "df with i for g",
        "The gradient through i = 1 - f is taken with the gate.",
        misread("df", g=other("i")),
    )


def hard(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of hard sigmoids."""
    width = cell.hard or 1
    others = {5: 6, 6: 5}
    for k in cell.sigmoid_gates:

        def line(s: Any, w: float = others[width], k: str = k) -> Any:
            return np.minimum(np.maximum(s[f"a_{k}"] / w + 0.5, 0), 1)

        def open_line(s: Any, k: str = k) -> Any:
            return s[f"a_{k}"] / width + 0.5

        def slope(s: Any, k: str = k) -> Any:
            return s[f"d{k}"] * (s[k] > 0) * (s[k] < 1) / width

        da, inside = f"da_{k}", slope
        yield (
            f"hard sigmoid of {k} {others[width]} wide",
            f"Gate {k} is a/{others[width]} + ½ where a/{width} + ½ belongs.",
            replaced(**{k: line}),
        )
        yield (
            f"{k} not clipped at 1",
            f"Gate {k} may exceed one.",
            replaced(**{k: lambda s, f=open_line: np.maximum(f(s), 0)}),
        )
        yield (
            f"{k} not clipped at 0",
            f"Gate {k} may be negative.",
            replaced(**{k: lambda s, f=open_line: np.minimum(f(s), 1)}),
        )
        yield (
            f"{k} without its half",
            f"Gate {k} is a/{width}, without the half.",
            replaced(**{k: lambda s, f=open_line: np.minimum(np.maximum(f(s) - 0.5, 0), 1)}),
        )
        yield (
            f"logistic sigmoid on {k}",
            f"Gate {k} is the logistic sigmoid.",
            replaced(**{k: lambda s, k=k: sigmoid(s[f"a_{k}"])}),
        )
        yield (
            f"slope of {k} missing",
            f"The slope 1/{width} of gate {k} is left out.",
            replaced(**{da: lambda s, f=inside: f(s) * width}),
        )
        yield (
            f"slope of {k} beyond its ends",
            f"The slope of gate {k} is 1/{width} where it is shut or open too.",
            replaced(**{da: lambda s, k=k: s[f"d{k}"] / width}),
        )
        yield (
            f"slope of {k} as if logistic",
            f"The slope of gate {k} is taken as {k} (1 - {k}).",
            replaced(**{da: lambda s, k=k: s[f"d{k}"] * s[k] * (1 - s[k])}),
        )
        yield (
            f"slope of {k} of width {others[width]}",
            f"The slope of gate {k} is taken as 1/{others[width]}.",
            replaced(**{da: lambda s, f=inside: f(s) * width / others[width]}),
        )
        yield (
            f"{k} cut at 1 in its slope only",
            f"The slope of gate {k} is zero where it is open, but not where it is shut.",
            replaced(**{da: lambda s, k=k: s[f"d{k}"] * (s[k] < 1) / width}),
        )


def forget_bias(cell: Cell) -> Iterator[EditRow]:
    """Yield faults of a forget bias that is added at run time."""
    bias = cell.forget_bias

    def more(gate: str, by: Any) -> Any:
        def edit(equations: Equations) -> dict[str, Equation]:
            right = equations[f"a_{gate}"]
            return {f"a_{gate}": lambda s: right(s) + (by(s) if callable(by) else by)}

        return edit

    yield "forget bias left out", "The run-time forget bias is not added.", more("f", -bias)
    yield (
        "forget bias twice",
        "The run-time forget bias is added to weights that hold it already.",
        more("f", bias),
    )
    yield (
        "forget bias at the first step only",
        "The run-time forget bias is added at the first step only.",
        more("f", lambda s: -bias * (s.t > 0)),
        "apple/coremltools#309",
    )
    yield "forget bias subtracted", "The run-time forget bias is subtracted.", more("f", -2 * bias)
    yield (
        "forget bias on o",
        "The run-time forget bias is added to the output gate.",
        both(more("f", -bias), more("o", bias)),
    )
    yield (
        "forget bias on o too",
        "The run-time forget bias is added to the output gate too.",
        more("o", bias),
    )
    if not cell.coupled:
        yield (
            "forget bias on i",
            "The run-time forget bias is added to the input gate.",
            both(more("f", -bias), more("i", bias)),
        )
    yield (
        "forget bias after the sigmoid",
        "The run-time forget bias is added to the gate.",
        replaced(f=lambda s: gate(cell, s.a_f - bias) + bias),
    )
