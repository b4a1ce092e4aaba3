"""A whole run of the benchmark.

There is a process for each section, for the kernels one for each number of threads, and a result
that fills as they answer.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatecheck import errors
from gatecheck._util.processes import available_cores
from gatecheck._util.typing import Progress
from gatecheck.bench import rows
from gatecheck.bench.points import CELLS, DTYPES, PEERS, QUICK_SIZES, SIZES, WORK_KINDS
from gatecheck.bench.sections import AUDITS, KERNELS, SECTIONS
from gatecheck.cells import Sizes
from gatecheck.errors import GatecheckError, TargetLostError, UsageError

SCHEMA = "gatecheck-bench-2"

BARS = {"torch": 2.0, "jax": 2.0}
"""Aims of our kernels: the geometric mean of the ratios to each peer.

No point should be below :data:`MIN_RATIO`.
"""
MIN_RATIO = 1.0


@dataclass(frozen=True)
class Plan:
    """Specification of a run: what to measure, and how.

    Attributes
    ----------
    target
        Name of the target, as :func:`gatecheck.targets.loading.load` reads it; None for our cells.
    cells
        Our cells to measure; or the cell that the target is, if it does not declare one.
    convention
        Convention of the target, if it does not declare one.
    against
        Names of peers; if empty, all, and our kernels for a target that is not ours.
    threads
        Numbers of threads, each in a separate process.
    sizes, dtypes, works
        See :mod:`gatecheck.bench.points`.
    sections
        Names out of :data:`gatecheck.bench.sections.SECTIONS`; those other than the kernels are
        about gatecheck, with the first number of threads.
    quick
        Small sizes, three rounds: a test that it works, not a measurement.
    limit
        Approximate seconds that the kernels may take. Each point has its share, in which it has as
        many rounds as fit, up to 51.
    """

    target: str | None = None
    cells: tuple[str, ...] = ()
    convention: str | None = None
    against: tuple[str, ...] = ()
    threads: tuple[int, ...] = (1, 2)
    sizes: tuple[Sizes, ...] = ()
    dtypes: tuple[str, ...] = DTYPES
    works: tuple[str, ...] = WORK_KINDS
    sections: tuple[str, ...] = (KERNELS,)
    quick: bool = False
    limit: float = 1800.0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.against if name not in PEERS]:
            raise UsageError(
                f"there is no peer {', '.join(unknown)}; the peers are {', '.join(PEERS)}"
            )
        if not self.threads or min(self.threads) < 1 or max(self.threads) > available_cores():
            given = ",".join(map(str, self.threads)) or "none"
            raise UsageError(
                f"the numbers of threads are {given}, "
                f"but should lie between 1 and the {available_cores()} cores of this machine"
            )
        if self.target is None and self.convention:
            raise UsageError("--convention needs a TARGET")
        if self.target is not None and len(self.cells) > 1:
            raise UsageError(
                f"{self.target} is one cell, "
                f"but {len(self.cells)} were named: {', '.join(self.cells)}"
            )
        if unknown := [name for name in self.sections if name not in SECTIONS]:
            raise UsageError(
                f"there is no section {', '.join(unknown)}; the sections are {', '.join(SECTIONS)}"
            )
        if self.target is not None and (
            others := [name for name in self.sections if name != KERNELS]
        ):
            raise UsageError(
                f"{', '.join(others)}: these are about gatecheck itself; "
                f"leave {self.target} out, or the sections"
            )
        if not self.limit > 0:
            raise UsageError(f"the limit is {self.limit:g} s, but should be more than 0")

    @property
    def measures_ours(self) -> bool:
        """True if our cells are measured."""
        return self.target is None or self.target.startswith("builtin:")

    @property
    def peers(self) -> tuple[str, ...]:
        """Names of the peers to race against."""
        return self.against or (PEERS[:-1] if self.measures_ours else PEERS)

    def request(self, threads: int, limit: float) -> dict[str, Any]:
        """Return the request to a child about the kernels."""
        return {
            "section": KERNELS,
            "target": self.target,
            "cells": self.cells or (CELLS if self.target is None else ()),
            "convention": self.convention,
            "against": self.peers,
            "threads": threads,
            "sizes": self.sizes or (QUICK_SIZES if self.quick else SIZES),
            "dtypes": self.dtypes,
            "works": self.works,
            "rounds": 3 if self.quick else 51,
            "least": 0.001 if self.quick else 0.005,
            "limit": limit,
        }


@dataclass
class BenchResult:
    """A result, as far as it is complete.

    Attributes
    ----------
    plan
        What was requested.
    points
        Points as in the JSON file: ``cell``, ``dtype``, ``work``, ``T``, ``B``, ``D``, ``H``,
        ``threads``, ``ratio`` and ``interval`` by peer (how many times as long it takes),
        ``seconds``, ``gemm_fraction`` and so on.
    starts
        What each process reported, by number of threads: versions, BLAS, and its rates of GEMM and
        GEMV in 1e9 operations a second.
    sections
        Sections other than the kernels, by name: ``title``, what ratios are ``over``, the ``unit``
        of numbers, ``missing``, ``notes``, and the ``rows``, each
        :meth:`gatecheck.bench.rows.Row.to_json`.
    versions
        Versions of all packages that were used.
    unmeasured
        Points for which there was no time.
    interrupted
        Whether the run was ended early.
    """

    plan: Plan
    points: list[dict[str, Any]] = field(default_factory=list)
    starts: dict[int, dict[str, Any]] = field(default_factory=dict)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    unmeasured: list[str] = field(default_factory=list)
    interrupted: bool = False
    machine: dict[str, Any] = field(default_factory=lambda: machine())

    @property
    def has_results(self) -> bool:
        """True if there is anything to show."""
        return bool(self.points or any(section["rows"] for section in self.sections.values()))

    def to_json(self) -> dict[str, Any]:
        """Return plain data, from which reports are made."""
        any_start = next(iter(self.starts.values()), {})
        return {
            "schema": SCHEMA,
            "subject": self.plan.target or "gatecheck",
            "bars": BARS if self.plan.measures_ours else {},
            "quick": self.plan.quick,
            "machine": self.machine | {"load_after": load_average()},
            "versions": self.versions,
            "blas": any_start.get("blas", []),
            "missing": any_start.get("missing", {}),
            "limitations": any_start.get("limitations", []),
            "floors": {str(threads): start["floors"] for threads, start in self.starts.items()},
            "summary": {
                str(threads): ratio_summary([p for p in self.points if p["threads"] == threads])
                for threads in self.starts
            },
            "interrupted": self.interrupted,
            "unmeasured": self.unmeasured,
            "points": self.points,
            "sections": self.sections,
        }


def run(bench: BenchResult, progress: Progress | None = None) -> None:
    """Fill a result, which keeps what it has when this is interrupted.

    Raises
    ------
    TargetError
        If the target cannot be loaded, computes something else than its cell, or ends its process.
    UsageError
        If a cell is unknown, or nothing is left to measure.
    """
    for section in bench.plan.sections:
        if section == KERNELS:
            _run_kernels(bench, progress)
        else:
            _run_section(bench, section, progress)


def _run_kernels(bench: BenchResult, progress: Progress | None) -> None:
    counts = bench.plan.threads
    left = bench.plan.limit
    for k, threads in enumerate(counts):
        share = left / (len(counts) - k)
        for answer in _answers(bench.plan.request(threads, share), threads):
            if answer["kind"] == "start":
                bench.starts[threads] = answer
                bench.versions |= answer["versions"]
            elif answer["kind"] == "begin" and progress is not None:
                total = answer["total"] * len(counts)
                progress(
                    answer["done"] + answer["total"] * k,
                    total,
                    f"{answer['point']}, {threads} threads",
                )
            elif answer["kind"] == "point":
                bench.points.append(answer["point"])
            elif answer["kind"] == "unmeasured":
                bench.unmeasured.append(answer["point"])
        left -= share


def _run_section(bench: BenchResult, section: str, progress: Progress | None) -> None:
    threads = bench.plan.threads[0]
    with tempfile.TemporaryDirectory(prefix="gatecheck-bench-") as folder:
        if section == AUDITS:
            from gatecheck.bench import audits  # which needs the kernels

            section_answers = rows.answers(
                audits.section(quick=bench.plan.quick, folder=Path(folder))
            )
        else:
            section_answers = _answers(
                {"section": section, "quick": bench.plan.quick, "threads": threads}, threads
            )
        for answer in section_answers:
            if answer["kind"] == "start":
                bench.sections[section] = {**answer["section"], "rows": []}
                bench.versions |= answer["versions"]
            elif answer["kind"] == "begin" and progress is not None:
                progress(answer["done"], answer["total"], answer["point"])
            elif answer["kind"] == "row":
                bench.sections[section]["rows"].append(answer["row"])


def _answers(spec: Mapping[str, Any], threads: int) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "gatecheck.bench.child"]
    # Standard error goes to a file: a pipe that is not read would fill, and block the child.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment(threads),
            text=True,
        ) as child,
    ):
        try:
            if child.stdin is None or child.stdout is None:
                raise RuntimeError("a child without pipes")
            with suppress(BrokenPipeError):  # the child has ended, which is reported below
                child.stdin.write(json.dumps(spec) + "\n")
                # here, since leaving the block would raise what is still to be written
                child.stdin.close()
            for line in child.stdout:
                answer = json.loads(line)
                if answer["kind"] == "end":
                    return
                if answer["kind"] == "error":
                    kind: type[GatecheckError] = getattr(errors, answer["error"])
                    raise kind(answer["message"])
                yield answer
        finally:
            child.kill()
        child.wait()
        stderr.seek(0)
        last = (stderr.read().strip().splitlines() or ["it said nothing"])[-1]
        raise TargetLostError(
            f"the process that measures {spec.get('target') or 'our cells'} "
            f"ended in the middle of a point: {last}"
        )


def environment(threads: int) -> dict[str, str]:
    """Return this process's environment, with `threads` for every thread pool.

    Those are the pools that read their size from it.
    """
    pools = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA")
    eigen = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {eigen}".strip()
    # A target named by a module is looked for where the command was called.
    return {
        **os.environ,
        **{f"{pool}_NUM_THREADS": str(threads) for pool in pools},
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
    }


def ratio_summary(points: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return, by peer, figures of the ratios of points.

    They are the geometric mean, the lowest, the number of points, and the number below
    :data:`MIN_RATIO`.
    """
    out = {}
    for name in PEERS:
        if ratios := [p["ratio"][name] for p in points if name in p["ratio"]]:
            out[name] = {
                "geometric_mean": math.exp(sum(map(math.log, ratios)) / len(ratios)),
                "lowest": min(ratios),
                "points": len(ratios),
                "below_1": sum(r < MIN_RATIO for r in ratios),
            }
    return out


def load_average() -> float | None:
    """Return the load average of the last minute, where the system reports it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def machine() -> dict[str, Any]:
    """Return the machine that measures, and its load."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": available_cores(),
        "system": platform.platform(),
        "load_before": load_average(),
    }
