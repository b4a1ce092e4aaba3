"""Probes: one step of a case, with zeros that silence some faults."""

from __future__ import annotations

from collections.abc import Iterable

from gatecheck.cases import Case
from gatecheck.cells.gate_blocks import block
from gatecheck.diagnosis.search import (
    Search,
    select_results,
)
from gatecheck.errors import TargetError, TargetLostError
from gatecheck.reference import Results


def probes(case: Case) -> dict[str, Case]:
    """Return one step of a case, and variants with a zero that silences some faults."""
    cell, arrays = case.cell, dict(case.arrays)
    start = {"x": arrays["x"][:1]} | ({"dy": arrays["dy"][:1]} if "dy" in arrays else {})
    first = case.replace(**start)
    variants = {"": first, "x is zero": first.replace(x=0 * first["x"])}
    variants |= {
        f"{k}0 is zero": first.replace(**{f"{k}0": 0 * first[f"{k}0"]})
        for k in cell.state
        if f"{k}0" in arrays
    }

    def without(parts: str, gates: Iterable[str]) -> Case:
        new = {
            name: a.copy()
            for name, a in case.params.items()
            if name.partition(".")[0] in tuple(parts)
        }
        for a in new.values():
            for gate in gates:
                block(cell, a, gate)[...] = 0
        return first.replace(**new)

    variants |= {f"{part} is zero": without(part, cell.gates) for part in "WUb"}
    if len(cell.gates) > 1:
        variants |= {f"the blocks of {k} are zero": without("WUb", [k]) for k in cell.gates}
    return variants


def run_probes(search: Search, case: Case) -> dict[str, Results]:
    """Return the target's outputs on the probes of a case; empty if it refuses them."""
    try:
        return {
            label: select_results(search.run_target(probe), False)
            for label, probe in probes(case).items()
        }
    except TargetLostError:
        raise
    except TargetError:
        return {}
