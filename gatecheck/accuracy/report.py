"""Errors of implementations in ulps, against certified values.

They are measured over sizes, lengths and regimes, and every error is counted twice. *Entry by
entry* it is in ulps of the exact entry: what a user who compares numbers sees, but where a sum
cancels it shows how small the result is rather than how good the code. *By norm* it is in ulps of
the largest exact entry of its block (a step of y and dx, a gate of dW, dU and db, else the whole
array): what a normwise backward error analysis bounds (Higham 2002, chapter 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gatecheck._util.typing import Array, Progress
from gatecheck._util.versions import versions
from gatecheck.accuracy.activations import DTYPES, measure_activations
from gatecheck.accuracy.ulps import absolute_errors, quantiles, ulp
from gatecheck.cases import Case, draw
from gatecheck.cells import Sizes
from gatecheck.certified.results import MAX_BITS
from gatecheck.checking.evidence import result_blocks
from gatecheck.errors import GatecheckError, MissingExtraError, UsageError
from gatecheck.implementation import Subject
from gatecheck.targets.loading import load

SCHEMA = "gatecheck-accuracy-1"

WORK_KINDS = ("forward", "gradients")

FRAMEWORKS = (
    "torch",
    "jax",
    "flax",
    "equinox",
    "dm-haiku",
    "keras",
    "onnx",
    "onnxruntime",
    "python-flint",
)


class Point(NamedTuple):
    """Sizes and a regime at which errors are measured.

    Attributes
    ----------
    gradients
        Whether to measure gradients too: certified ones take time by the fourth power of H and the
        square of T.
    recurrence
        Factor by which U is larger than in the regime, and W smaller. Beyond 1 the point is called
        chaotic: differences grow with every step in any implementation, so totals leave it out.
    """

    sizes: Sizes
    regime: str = "generic"
    gradients: bool = True
    recurrence: float = 1.0

    @property
    def label(self) -> str:
        """The regime in one word."""
        return "chaotic" if self.recurrence > 1 else self.regime

    def __str__(self) -> str:
        T, B, D, H = self.sizes
        return f"T={T} B={B} D={D} H={H} {self.label}"

    def case(self, subject: Subject, seed: int) -> Case:
        """Draw a case for an implementation.

        It is in float32: the same numbers in float64 have the same certified results.
        """
        case = draw(
            subject.cell,
            self.sizes._replace(**subject.sizes),
            seed=seed,
            dtype="float32",
            regime=self.regime,
        )
        return subject.zero_unsupported(case.with_recurrence(self.recurrence))


POINTS = (
    *(Point(Sizes(T, 1, 2, 4)) for T in (1, 3, 10, 30, 100, 300)),
    *(Point(Sizes(10, 2, D, H)) for D, H in ((3, 8), (5, 12))),
    Point(Sizes(1000, 1, 3, 8), gradients=False),
    Point(Sizes(20, 1, 8, 64), gradients=False),
    Point(Sizes(300, 1, 2, 4), "slow"),
    Point(Sizes(10, 2, 3, 8), "saturated"),
    Point(Sizes(60, 1, 2, 6), "strong"),
    Point(Sizes(60, 1, 2, 8), recurrence=12),
    Point(Sizes(60, 1, 3, 48), gradients=False, recurrence=12),
)
"""Points that a report measures by default.

Lengths at one size, sizes at one length, long and wide outputs, gradients that reach far back, shut
gates, large weights, and chaos.
"""


class CertifiedArray(NamedTuple):
    """A certified number as the unevaluated sum of two float64.

    The first is the nearest float64, NaN where that is undecided; the second is what is left,
    rounded.
    """

    nearest: Array
    rest: Array


def certified_values(case: Case, *, gradients: bool) -> dict[str, CertifiedArray]:
    """Return the certified outputs and gradients of a case, to about 106 bits.

    Raises
    ------
    MissingExtraError
        If python-flint is not installed.
    """
    from gatecheck.certified.cells import certify

    result = certify(case, gradients=gradients, max_bits=MAX_BITS)
    out = {}
    for name, nearest in result.values["float64"].items():
        remainders = [
            float((ball - n).mid())
            for n, ball in zip(
                nearest.ravel().tolist(), result.enclosures[name].ravel(), strict=True
            )
        ]
        out[name] = CertifiedArray(nearest, np.array(remainders, float).reshape(nearest.shape))
    return out


class UlpErrors(NamedTuple):
    """Errors of many entries, in two units.

    They are in ulps of the entry itself (`own`) and of the largest entry of its block (`norm`);
    `undecided` counts the entries without a certified value.
    """

    own: Array
    norm: Array
    undecided: int = 0


def measure_errors(
    case: Case, results: Mapping[str, Array], certified: Mapping[str, CertifiedArray], dtype: str
) -> dict[str, UlpErrors]:
    """Return the errors of results that are certified, by name.

    Parameters
    ----------
    case
        The case; its gates name the blocks.
    results
        What an implementation returned.
    certified
        The certified results.
    dtype
        The dtype whose ulps are the unit.
    """
    out = {}
    for name, (nearest, rest) in certified.items():
        if name not in results or not nearest.size:
            continue
        decided = np.isfinite(nearest)
        absolute = absolute_errors(results[name], nearest, rest)
        largest = np.zeros(nearest.shape)
        for _, where in result_blocks(case.cell, name, nearest):
            largest[where] = np.abs(nearest[where][decided[where]]).max(initial=0.0)
        own, norm = (absolute[decided] / ulp(size[decided], dtype) for size in (nearest, largest))
        out[name] = UlpErrors(own, norm, int((~decided).sum()))
    return out


def error_quantiles(parts: Sequence[UlpErrors]) -> dict[str, Any] | None:
    """Return median, 99.9 % and worst of errors in ulps, or None if there are none.

    A result that is not finite counts as lost.
    """
    own, norm = (
        np.concatenate([getattr(p, key) for p in parts]) if parts else np.zeros(0)
        for key in ("own", "norm")
    )
    if not own.size:
        return None
    finite = np.isfinite(own)
    summary: dict[str, Any] = {
        "values": int(own.size),
        "lost": int((~finite).sum()),
        "undecided": sum(p.undecided for p in parts),
    }
    for key, a in (("ulps", own[finite]), ("norm_ulps", norm[finite])):
        summary[key] = quantiles(a)
    return summary


class _Row(NamedTuple):
    """Errors of one quantity, with where they were measured."""

    subject: str
    dtype: str
    point: Point
    name: str
    errors: UlpErrors

    @property
    def work(self) -> str:
        return WORK_KINDS[self.name.startswith("d")]


def _measure_point(
    point: Point,
    seed: int,
    subjects: Mapping[str, Subject],
    refused: dict[str, str],
    tick: Callable[[str], None],
) -> Iterator[_Row]:
    """Yield the errors of all subjects at one point, on one draw."""
    certified: dict[str, dict[str, CertifiedArray]] = {}
    for label, subject in subjects.items():
        case = point.case(subject, seed)
        if case.key not in certified:
            tick(f"certified values, {case.cell} {point}")
            certified[case.key] = certified_values(case, gradients=point.gradients)
        for dtype in (d for d in DTYPES if d in subject.dtypes):
            own_case = (
                Case(case.cell, case.as_float64(), case.origin) if dtype == "float64" else case
            )
            try:
                results = subject.run(own_case) if point.gradients else subject.forward(own_case)
            except GatecheckError as error:
                refused.setdefault(label, f"{own_case}: {error}")
                continue
            for name, entry_errors in measure_errors(
                own_case, results, certified[case.key], dtype
            ).items():
                yield _Row(label, dtype, point, name, entry_errors)
        tick(f"{label} {point}")


def _load_subjects(
    targets: Sequence[tuple[str, str | None]],
) -> tuple[dict[str, Subject], dict[str, str]]:
    """Load implementations, by label, and give reasons for those refused."""
    subjects, refused = {}, {}
    for target, cell in targets:
        label = f"{target} {cell}" if cell else target
        try:
            loaded = load(target, cell=cell)
        except MissingExtraError as error:
            refused[label] = str(error)
            continue
        if not isinstance(loaded, Subject):
            raise UsageError(f"{target} is a custom cell, for which there are no certified values")
        subjects[label] = loaded
    return subjects, refused


def accuracy_report(
    targets: Sequence[tuple[str, str | None]],
    *,
    cases: int,
    seed: int,
    sample: int,
    points: Sequence[Point] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure the accuracy of implementations, as plain data.

    Parameters
    ----------
    targets
        Names as for :func:`gatecheck.targets.loading.load`, each with its cell where the target
        leaves it open.
    cases
        Number of draws at each point.
    seed
        Seed of cases and arguments.
    sample
        Approximate number of arguments of each activation.
    points
        Where to measure; by default at :data:`POINTS`.
    progress
        Called with work done, work to do and a label.

    Raises
    ------
    UsageError, TargetError
        If a target cannot be loaded.
    MissingExtraError
        If python-flint is not installed.
    """
    points = POINTS if points is None else points
    subjects, refused = _load_subjects(targets)
    cells = len({(s.cell, *s.unsupported_params) for s in subjects.values()})
    total = (cells + len(subjects)) * cases * len(points) + len(subjects)
    done = 0

    def tick(label: str) -> None:
        nonlocal done
        if progress:
            progress(done, total, label)
        done += 1

    rows = [
        row
        for point in points
        for k in range(cases)
        for row in _measure_point(point, seed + k, subjects, refused, tick)
    ]
    activations = []
    for label, subject in subjects.items():
        tick(f"activations of {label}")
        activations += [
            {"target": label, **entry} for entry in measure_activations(subject, sample, seed)
        ]
    return {
        "schema": SCHEMA,
        "versions": versions(*FRAMEWORKS),
        "seed": seed,
        "cases": cases,
        "sample": sample,
        "points": [
            {
                "name": str(p),
                **p.sizes._asdict(),
                "regime": p.label,
                "gradients": p.gradients,
                "in_totals": p.recurrence == 1,
            }
            for p in points
        ],
        "totals": _summarize(subjects, rows),
        "refused": refused,
        "activations": activations,
    }


def _summarize(subjects: Mapping[str, Subject], rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """Summarize errors by implementation and dtype.

    In total (over all points that are not chaotic), by point and by quantity.
    """
    out = []
    by_key: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        by_key.setdefault((row.subject, row.dtype), []).append(row)
    for (label, dtype), group in by_key.items():
        for work in WORK_KINDS:
            selected = [row for row in group if row.work == work]
            regular = [row for row in selected if row.point.recurrence == 1]
            if not selected:
                continue
            out.append(
                {
                    "target": label,
                    "cell": subjects[label].cell.name,
                    "dtype": dtype,
                    "work": work,
                    "total": error_quantiles([row.errors for row in regular]),
                    "by_point": {
                        str(p): error_quantiles([r.errors for r in selected if r.point == p])
                        for p in dict.fromkeys(r.point for r in selected)
                    },
                    "by_quantity": {
                        n: error_quantiles([r.errors for r in regular if r.name == n])
                        for n in dict.fromkeys(r.name for r in regular)
                    },
                }
            )
    return out
