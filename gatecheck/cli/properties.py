"""The command ``properties``."""

from __future__ import annotations

from gatecheck.cli.base import main
from gatecheck.report.terminal import Console


@main.command(short_help="List every property.")
def properties() -> None:
    """List every property with its preconditions and its statement."""
    from gatecheck.auditing.selection import select_properties
    from gatecheck.report.properties_table import properties_list

    Console().print(properties_list(select_properties()))
