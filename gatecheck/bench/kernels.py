"""The section of the kernels, in the process that measures it.

It measures every point that a target takes, one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from threadpoolctl import threadpool_info

from gatecheck._util.versions import versions
from gatecheck.bench import roofline
from gatecheck.bench.points import DTYPES, Point, points
from gatecheck.bench.race import RaceSettings, find_peers, measure_point
from gatecheck.cells import Sizes, as_cell
from gatecheck.errors import UsageError
from gatecheck.implementation import Subject
from gatecheck.inference.resolve import resolve_convention
from gatecheck.targets import loading

Spec = Mapping[str, Any]


def answers(spec: Spec) -> Iterator[dict[str, Any]]:
    """Yield answers, each with a ``kind``.

    They are a ``start``, then a ``begin`` and a ``point`` or an ``unmeasured`` for each point.
    """
    start = time.perf_counter()
    threads = spec["threads"]
    subjects = _subjects(spec)
    peers = find_peers(tuple(spec["against"]))
    wanted = list(_applicable_points(spec, subjects))
    if not wanted:
        raise UsageError(
            f"{spec['target']} takes none of the requested sizes, dtypes and kinds of work"
        )
    yield {
        "kind": "start",
        "missing": peers.missing,
        "limitations": [note for s in subjects.values() for note in _limitations(s)],
        "versions": versions(
            *peers.packages,
            *(p for s in subjects.values() for p in s.packages),
        ),
        "floors": {
            dtype: roofline.gemm_rates(dtype) for dtype in dict.fromkeys(p.dtype for p in wanted)
        },
        "blas": sorted(
            {
                f"{pool['internal_api']} {pool['version']}"
                for pool in threadpool_info()
                if pool["user_api"] == "blas"
            }
        ),
    }
    terms = RaceSettings(threads, spec["rounds"], spec["least"])
    for k, point in enumerate(wanted):
        now = time.perf_counter()
        left = start + spec["limit"] - now
        yield {"kind": "begin", "done": k, "total": len(wanted), "point": str(point)}
        if left <= 0:
            yield {"kind": "unmeasured", "point": f"{point}, {threads} threads"}
            continue
        share = now + left / (len(wanted) - k)
        yield {
            "kind": "point",
            "point": measure_point(point, subjects[point.cell], peers.prepare, terms, share),
        }


def _subjects(spec: Spec) -> dict[str, Subject]:
    """Load the subjects that are measured, by the name of the cell."""
    if spec["target"] is None:
        names = [as_cell(cell).name for cell in spec["cells"]]
        loaded = [loading.load(f"builtin:{name}") for name in names]
    else:
        loaded = [
            loading.load(
                spec["target"],
                cell=spec["cells"][0] if spec["cells"] else None,
                convention=spec["convention"],
            )
        ]
    out = {}
    for candidate in loaded:
        if not isinstance(candidate, Subject):
            raise UsageError(
                f"{spec['target']} is a custom cell: there is nothing to compare it with"
            )
        subject = resolve_convention(candidate)
        out[subject.cell.name] = subject
    return out


def _limitations(under_test: Subject) -> Iterator[str]:
    """Yield what a target cannot do and is not measured at, in sentences."""
    yield from under_test.notes
    if "backward" not in under_test.abilities:
        yield "gradients are not measured: there is no backward"
    yield from (f"only {name} = {value} is measured" for name, value in under_test.sizes.items())
    yield from (
        f"{dtype} is not measured: it is not declared"
        for dtype in DTYPES
        if dtype not in under_test.dtypes
    )
    yield from (
        f"{name} is zero: the convention {under_test.convention.name} has no place for it"
        for name in under_test.unsupported_params
    )


def _applicable_points(spec: Spec, subjects: Mapping[str, Subject]) -> Iterator[Point]:
    sizes = [Sizes(*size) for size in spec["sizes"]]
    for point in points(subjects, spec["dtypes"], spec["works"], sizes):
        subject = subjects[point.cell]
        fits = all(getattr(point.sizes, name) == value for name, value in subject.sizes.items())
        if (
            fits
            and point.dtype in subject.dtypes
            and (point.work == "forward" or "backward" in subject.abilities)
        ):
            yield point
