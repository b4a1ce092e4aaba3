"""All measurements of one network on one sequence, in a single sweep."""

from __future__ import annotations

from typing import NamedTuple

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Params
from gatecheck.decay.jacobians.profile import Adjoint, Profile
from gatecheck.decay.jacobians.sweep import Visitor, prepare_run, run_passes
from gatecheck.decay.jobs.checkpoints import Checkpointer
from gatecheck.decay.jobs.job import ReportProgress
from gatecheck.decay.measures.gates import GateStatistics, GateSummary
from gatecheck.decay.measures.input_sensitivity import InputSensitivity
from gatecheck.decay.measures.paths import path_adjoints
from gatecheck.decay.measures.truncation import TruncationBias, TruncationReading
from gatecheck.decay.spec import MeasureSpec

PATH_PROBES = 4
"""Number of cotangents that the paths follow.

The logs of paths differ by nats rather than by hundredths, and each costs as much as the whole.
"""


class Measurement(NamedTuple):
    """Measurements of one network on one sequence; empty or None if not chosen.

    Attributes
    ----------
    profile
        Whole gradient by lag.
    paths
        Log-norms ``(T+1,)`` by lag along "keep", "candidate" and "gates" alone, of a block of norm
        1; see :mod:`gatecheck.decay.measures.paths`.
    inputs
        ``(T,)``: ln ‖∂ℓ/∂x‖ by lag.
    gates
        Gate statistics.
    loss
        Gradient of one loss by lag, for
        :func:`gatecheck.decay.measures.truncation.geometric_bound`.
    truncation
        Bias of the truncated parameter gradient of that loss.
    """

    profile: Profile
    paths: dict[str, Array]
    inputs: Array | None
    gates: GateSummary | None
    loss: Profile | None
    truncation: TruncationBias | None


def measure(
    cell: Cell,
    params: Params,
    x: Array,
    start: Array,
    loss: Array,
    state: Array | None = None,
    progress: ReportProgress | None = None,
    checkpointer: Checkpointer | None = None,
    quantities: MeasureSpec = MeasureSpec(),  # noqa: B008 (it is frozen)
) -> Measurement:
    """Measure everything chosen in one forward and one backward pass.

    Parameters and errors are those of :func:`gatecheck.decay.jacobians.profile.adjoint_profile`;
    `loss` ``(n, 1, H)`` is the cotangent of the last state whose parameter gradient is truncated.
    Memory is O(√T k H + T), plus about a hundred times that of the parameters.
    """
    run = prepare_run(cell, params, x, state)
    gates = GateStatistics(run) if quantities.gates else None
    inputs = InputSensitivity(run) if quantities.inputs else None
    truncation = TruncationReading(run) if quantities.truncation else None
    whole = Adjoint(run, start, readings=[inputs] if inputs else [])
    one = Adjoint(run, loss, readings=[truncation]) if truncation else None
    paths = path_adjoints(run, start[:, :PATH_PROBES]) if quantities.paths else {}
    visits: list[Visitor] = [whole, *([one] if one else []), *paths.values()]
    run_passes(run, [gates] if gates else [], visits, progress, checkpointer)
    return Measurement(
        profile=whole.profile(),
        paths={
            name: sizes - sizes[0]
            for name, adjoint in paths.items()
            for sizes in [adjoint.profile().log_norm]
        },
        inputs=inputs.log_norm if inputs else None,
        gates=gates.result() if gates else None,
        loss=one.profile() if one else None,
        truncation=truncation.result() if truncation else None,
    )
