"""Properties on targets that misbehave: a finding, never an error of ours."""

import numpy as np
import pytest

from gatecheck.auditing import explore
from gatecheck.auditing.audit import audit
from gatecheck.cells import GRU
from gatecheck.faults.edited_cell import EditedCell


class NotANumber(EditedCell):
    """Right, except that all results are NaN."""

    def forward(self, *given, **more):
        return tuple(np.full_like(v, np.nan) for v in super().forward(*given, **more))

    def backward(self, *given, **more):
        return {k: np.full_like(v, np.nan) for k, v in super().backward(*given, **more).items()}


class NanForNegativeInput(EditedCell):
    """Right, except that outputs are NaN where the first input is negative."""

    def forward(self, params, x, *given, **more):
        y, *rest = super().forward(params, x, *given, **more)
        return (np.where(x[:1, :, :1] < 0, np.nan, y).astype(y.dtype), *rest)


@pytest.mark.parametrize("target", [NotANumber, NanForNegativeInput])
def test_nan_everywhere_is_a_finding(target, monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 2)
    result = audit(target(GRU()), profile="quick", diagnose=False)
    assert result.verdict == "fail"
    failed = {p.name for p in result.findings}
    assert {"forward_within_budget", "gradients_match_finite_differences"} <= failed
    assert not result.count("crashed")
