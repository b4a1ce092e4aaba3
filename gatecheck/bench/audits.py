"""Duration of audits of our cells from the command line, and of a start.

Audits are timed with compiled kernels on disk and without.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gatecheck.bench.rows import Bar, Row, Section, Step, race_rows
from gatecheck.bench.timing import race
from gatecheck.errors import TargetError, shorten
from gatecheck.kernels.builtin import KERNEL_CELLS

WARM_IMPORTS, WARM_SECONDS = 2.0, 2.0
COLD_SECONDS = 20.0
EVERYTHING_SECONDS = 120.0
IMPORT_SECONDS = 0.3
CHECKS_PER_SECOND = 1000.0
"""Limits that we aim at.

A warm audit takes twice the import of what it depends on and two seconds more, one that compiles
all twenty, one of everything installed and compiling two minutes; ``import gatecheck`` 0.3 s; and a
thorough audit makes a thousand checks a second.
"""

ROUNDS = 7

COMMAND = "from gatecheck.cli import main; main()"

DEPENDENCIES = """
import contextlib, io, json, sys
from gatecheck.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
own = {*sys.stdlib_module_names, "gatecheck", "__main__"}
named = [
    name
    for name, module in sys.modules.items()
    if getattr(getattr(module, "__spec__", None), "name", None) == name
]
names = [
    name
    for name in named
    if name.partition(".")[0] not in own and all(map(str.isidentifier, name.split(".")))
]
print(json.dumps(names))
"""
"""Program that prints the third-party modules that are loaded after an audit."""

NUMBA = """
import sys, gatecheck
print(sum(name.partition(".")[0] == "numba" for name in sys.modules))
"""


class Workspace(NamedTuple):
    """Folder of the processes, and the options that narrow each audit.

    The folder is empty at first; what the processes compile goes into a folder in it.
    """

    folder: Path
    narrowing_options: tuple[str, ...]

    def run_python(self, *arguments: str, cache: str = "warm", failure_status: int = 2) -> str:
        """Run a Python process with these arguments and return what it prints.

        Raises
        ------
        TargetError
            If its exit status is `failure_status` or more: an audit with findings ends with 1.
        """
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(self.folder / cache)}
        command = [sys.executable, "-P", *arguments]
        completed = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
        if not 0 <= completed.returncode < failure_status:
            last = (completed.stderr.strip().splitlines() or ["it said nothing"])[-1]
            command_line = " ".join(
                "gatecheck" if word == COMMAND else word for word in arguments[1:]
            )
            raise TargetError(
                f"{shorten(command_line)} ended with exit status {completed.returncode}: {last}"
            )
        return completed.stdout

    def run_audit(self, *arguments: str, cache: str = "warm") -> None:
        """Run ``gatecheck audit`` with these arguments in a separate process."""
        self.run_python("-c", COMMAND, "audit", *arguments, *self.narrowing_options, cache=cache)


def dependencies(place: Workspace, arguments: tuple[str, ...]) -> list[str]:
    """Return the modules of other packages that an audit loads, in this order."""
    names: list[str] = json.loads(
        place.run_python("-c", DEPENDENCIES, "audit", *arguments, *place.narrowing_options)
    )
    return names


def audit_command(place: Workspace, *arguments: str) -> str:
    """Return how an audit is called from the command line."""
    return " ".join(("gatecheck audit", *arguments, *place.narrowing_options))


def section(*, quick: bool, folder: Path) -> Section:
    """Return the section of audits, which run as processes in `folder`.

    The first, with nothing compiled, leaves behind what the warm ones need.
    """
    place = Workspace(folder, ("--only", "empty_sequence") if quick else ())
    cells, rounds = (["rnn"], 1) if quick else ([cell.name for cell in KERNEL_CELLS], ROUNDS)
    arguments = ("builtin:rnn" if quick else "builtin:lstm", "--profile", "quick")
    steps: list[Step] = [
        ("import gatecheck", partial(_imports, place, rounds)),
        ("an audit that compiles", partial(_cold, place, arguments, COLD_SECONDS)),
        ("an audit that does not", partial(_warm, place, arguments, rounds)),
        *((f"profile ci, {cell}", partial(_checks, place, f"builtin:{cell}")) for cell in cells),
    ]
    notes = [
        "whole processes, with as many threads as they choose; "
        "audits that compile and those of everything are run once"
    ]
    if quick:
        notes.append(
            "--quick: of one property; the audit of everything that is installed was left out"
        )
    else:
        steps.append(
            ("an audit of everything that compiles", partial(_cold, place, (), EVERYTHING_SECONDS))
        )
    return Section(
        "Audits and what a start costs",
        "that of importing what the audit depends on",
        "checks",
        steps,
        {},
        notes,
    )


def _imports(place: Workspace, rounds: int) -> Iterator[Row]:
    what = "import gatecheck"
    seconds = race({what: partial(place.run_python, "-c", what)}, rounds=rounds, least=0.0)
    yield Row(what, float(np.median(seconds[what])), bar=Bar("seconds", IMPORT_SECONDS))
    yield Row(
        f"modules of numba that {what} loads",
        number=int(place.run_python("-c", NUMBA, failure_status=1)),
        bar=Bar("number", 0),
    )


def _cold(place: Workspace, arguments: tuple[str, ...], limit: float) -> Iterator[Row]:
    cache = "warm" if arguments else "everything"
    seconds = race(
        {"audit": partial(place.run_audit, *arguments, cache=cache)},
        rounds=1,
        least=0.0,
        warm=False,
    )
    yield Row(
        f"{audit_command(place, *arguments)}, nothing compiled",
        seconds["audit"][0],
        bar=Bar("seconds", limit),
    )


def _warm(place: Workspace, arguments: tuple[str, ...], rounds: int) -> Iterator[Row]:
    names = dependencies(place, arguments)
    seconds = race(
        {
            "audit": partial(place.run_audit, *arguments),
            "imports": partial(
                place.run_python, "-c", f"import {', '.join(names)}", failure_status=1
            ),
        },
        rounds=rounds,
        least=0.0,
    )
    imports = float(np.median(seconds["imports"]))
    packages = {name.partition(".")[0] for name in names}
    yield Row(
        f"importing the {len(names)} modules of {len(packages)} packages that it depends on",
        imports,
        1.0,
    )
    bar = Bar(
        "seconds",
        WARM_IMPORTS * imports + WARM_SECONDS,
        why=f"{WARM_IMPORTS:g} times the imports and {WARM_SECONDS:g} s",
    )
    for row in race_rows(seconds, "imports", bar=bar):
        yield replace(row, what=audit_command(place, *arguments))


def _checks(place: Workspace, target: str) -> Iterator[Row]:
    written = place.folder / "audit.json"
    seconds = race(
        {target: partial(place.run_audit, target, "--profile", "ci", "--json", str(written))},
        rounds=1,
        least=0.0,
    )
    checks = json.loads(written.read_text(encoding="utf-8"))["counts"]["checks"]
    yield Row(
        audit_command(place, target, "--profile", "ci"),
        seconds[target][0],
        number=checks,
        bar=Bar("rate", CHECKS_PER_SECOND, least=True),
    )
