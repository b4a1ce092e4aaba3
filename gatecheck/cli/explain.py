"""What a name means: ``gatecheck explain``."""

from __future__ import annotations

import click
from rich.console import Console

from gatecheck.cli.base import bar, main


@main.command(
    short_help="Explain a property, a fault or a convention.",
    epilog="""\b
Examples:
  gatecheck explain update_gate_of_zeros_copies
  gatecheck explain "lstm: f missing in dc"
  gatecheck explain "f missing in dc"
  gatecheck explain pytorch""",
)
@click.argument("name")
def explain(name: str) -> None:
    """Explain NAME, whatever it is the name of.

    Of a property: the theorem, why it holds, on which cases it is tried, and which faults it
    catches. Of a fault: what it does, in which cells, where it was seen, and which properties catch
    it. Of a convention: what lies where in its arrays, and how that is known.
    """
    from gatecheck.auditing.lookup import meaning
    from gatecheck.checking.registry import Claim
    from gatecheck.conventions import Convention
    from gatecheck.mutation.kill_matrix import catches, matrix
    from gatecheck.report.claims_table import catches_list, explanation
    from gatecheck.report.conventions_table import convention_in_full
    from gatecheck.report.faults_table import fault_in_full

    out, found = Console(), meaning(name)
    if isinstance(found, Convention):
        out.print(convention_in_full(found))
    elif isinstance(found, Claim):
        out.print(explanation(found))
        with bar("planting faults") as tick:
            caught = catches(found, progress=tick)
        out.print(catches_list(caught))
    else:
        with bar("trying properties") as tick:
            killings = matrix([found[0].label], progress=tick)
        out.print(fault_in_full(found, killings[0]), crop=False)
