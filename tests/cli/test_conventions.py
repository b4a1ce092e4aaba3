"""The ``gatecheck conventions`` command: table, single entries, targets, mistakes."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from gatecheck.cli import main
from gatecheck.conventions import CONVENTIONS

UNKNOWN = """
import numpy as np

class Mine:
    cell = "gru"

    def shapes(self, D, H):
        return {"kernel": (D + H, 3 * H), "bias": (3 * H,)}

    def forward(self, params, x, h0, c0=None):
        h, y = h0, []
        for x_t in x:
            K, b, H = params["kernel"], params["bias"], h.shape[1]
            a = np.hstack([h, x_t]) @ K[:, : 2 * H] + b[: 2 * H]
            s = 1 / (1 + np.exp(-a))
            z, r = s[:, :H], s[:, H:]
            n = np.tanh(np.hstack([r * h, x_t]) @ K[:, 2 * H :] + b[2 * H :])
            h = z * h + (1 - z) * n
            y.append(h)
        return np.array(y), h

class Wrong(Mine):
    def forward(self, params, x, h0, c0=None):
        y, h = super().forward(params, x, h0)
        return y * 1.01, h
"""


@pytest.fixture
def run_gatecheck(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(UNKNOWN)

    def run(*arguments):
        done = CliRunner().invoke(main, list(arguments))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done.exit_code, " ".join(done.output.split())

    return run


def test_every_convention_is_listed_with_its_source(run_gatecheck):
    status, printed = run_gatecheck("conventions")
    assert status == 0
    assert all(f"{name}: " in printed for name in CONVENTIONS)


def test_one_convention_is_listed(run_gatecheck):
    status, printed = run_gatecheck("conventions", "--name", "onnx")
    assert status == 0
    assert "iofg" in printed
    assert "P = [p : iof]" in printed
    assert "keras" not in printed


def test_the_convention_of_a_target_is_inferred(run_gatecheck):
    status, printed = run_gatecheck("conventions", "mine.py:Mine")
    assert (status, printed) == (
        0,
        "it is a gru-before, with kernel = [U; W : zrn], bias = [b : zrn], "
        "the opposite polarity in z",
    )


def test_a_target_without_known_convention_is_a_finding(run_gatecheck):
    assert run_gatecheck("conventions", "mine.py:Wrong") == (
        1,
        "no convention that gatecheck can express explains it",
    )


MISTAKES = [
    (
        ["conventions", "--name", "torhc"],
        "there is no convention 'torhc'; the conventions are canonical",
    ),
    (["conventions", "--cell", "gru"], "--cell needs a TARGET"),
    (["conventions", "mine.py:Mine", "--name", "keras"], "--name lists a convention"),
    (["conventions", "builtin:gru-layers2"], "the convention of a gru-layers2 is not inferred"),
]


@pytest.mark.parametrize(("command", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_a_usage_error_is_one_line(run_gatecheck, command, message):
    status, printed = run_gatecheck(*command)
    assert status == 2
    assert message in printed
