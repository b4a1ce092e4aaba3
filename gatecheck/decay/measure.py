"""All that one sweep over one sequence can tell."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from gatecheck.cells import Cell, Params
from gatecheck.decay.gates import Gates, GateStatistics
from gatecheck.decay.passes import Progress, passes, prepare
from gatecheck.decay.paths import split
from gatecheck.decay.profile import Adjoint, Profile
from gatecheck.decay.sensitivity import InputSensitivity
from gatecheck.decay.truncation import Bias, Truncation

Array = NDArray[Any]


class Measurement(NamedTuple):
    """One network on one sequence.

    Attributes
    ----------
    profile
        The whole gradient by lag.
    paths
        Log-norms ``(T+1,)`` by lag along "keep", "candidate" and "gates" alone; see :mod:`gatecheck.decay.paths`.
    inputs
        ``(T,)``: ln ‖∂ℓ/∂x‖ by lag.
    gates
        Where the gates stand.
    loss
        The gradient of one loss by lag, which :func:`gatecheck.decay.truncation.geometric_bound` asks for.
    truncation
        The bias of that loss's parameter gradient.
    """

    profile: Profile
    paths: dict[str, Array]
    inputs: Array
    gates: Gates
    loss: Profile
    truncation: Bias


def measure(
    cell: Cell, params: Params, x: Array, start: Array, loss: Array, state: Array | None = None, progress: Progress | None = None
) -> Measurement:
    """Measure all of it in one forward and one backward pass.

    Parameters and errors are those of :func:`gatecheck.decay.profile.adjoint_profile`; `loss` ``(n, 1, H)`` is the cotangent of the last
    state whose parameter gradient is truncated. Memory is O(√T k H + T), and that of the parameters some hundred times.
    """
    run = prepare(cell, params, x, state)
    gates, inputs, truncation = GateStatistics(run), InputSensitivity(run), Truncation(run)
    whole, one = Adjoint(run, start, readings=[inputs]), Adjoint(run, loss, readings=[truncation])
    paths = split(run, start)
    passes(run, forward=[gates], backward=[whole, one, *paths.values()], progress=progress)
    by_path = {name: adjoint.profile().log_norm for name, adjoint in paths.items()}
    return Measurement(whole.profile(), by_path, inputs.log_norm, gates.result(), one.profile(), truncation.result())
