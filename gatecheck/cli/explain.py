"""The ``gatecheck explain`` command."""

from __future__ import annotations

import click

from gatecheck.cli.base import main, progress_bar
from gatecheck.report.terminal import Console


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
    """Explain NAME, a property, fault or convention.

    For a property: the theorem, why it holds, the cases it is tried on, and the faults it catches.
    For a fault: its effect, its cells, where it was seen, and the properties that catch it. For a
    convention: the layout of its arrays, and the source of it.
    """
    from gatecheck.auditing.lookup import lookup
    from gatecheck.checking.registry import Property
    from gatecheck.conventions import Convention
    from gatecheck.mutation.kill_matrix import run_matrix, try_on_all_faults
    from gatecheck.report.conventions_table import convention_in_full
    from gatecheck.report.faults_table import fault_in_full
    from gatecheck.report.properties_table import catches_list, property_in_full

    out, entry = Console(), lookup(name)
    if isinstance(entry, Convention):
        out.print(convention_in_full(entry))
    elif isinstance(entry, Property):
        out.print(property_in_full(entry))
        with progress_bar("injecting faults") as tick:
            results = try_on_all_faults(entry, progress=tick)
        out.print(catches_list(results))
    else:
        with progress_bar("trying properties") as tick:
            killings = run_matrix([entry[0].label], progress=tick)
        out.print(fault_in_full(entry, killings[0]), crop=False)
