"""Networks run by a target: profiles by its own backward, and notes on its errors."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from gatecheck.cells import LSTM
from gatecheck.cells.initializers import uniform
from gatecheck.cli import main
from gatecheck.decay.jacobians.profile import adjoint_profile
from gatecheck.decay.spec import NetworkSpec, parse_spec
from gatecheck.decay.study.networks import open_network
from gatecheck.decay.study.run import decay
from gatecheck.errors import TargetError, UsageError, WeightsFileError

CELLS = '''
import numpy as np
from gatecheck import Builtin

class Leaky:
    """Custom cell h' = a h + (1 - a) x W, whose gradient shrinks by exactly a at each step."""
    cell, keep = "custom", 0.9
    def example(self, rng):
        return {
            "params": {"W": rng.standard_normal((3, 2))},
            "x": rng.standard_normal((4, 3)),
            "h0": rng.standard_normal(2),
        }
    def forward(self, params, x, h0):
        y, h = [], h0
        for x_t in x:
            h = 0.9 * h + 0.1 * x_t @ params["W"]
            y.append(h)
        return np.array(y), h
    def backward(self, params, x, h0, dy, dhT):
        dh, dx, dW = dhT, np.zeros_like(x), np.zeros_like(params["W"])
        for t in reversed(range(len(x))):
            dh = dh + dy[t]
            dx[t], dW = 0.1 * params["W"] @ dh, dW + 0.1 * np.outer(x[t], dh)
            dh = self.keep * dh
        return {"W": dW, "x": dx, "h0": dh}

class Hasty(Leaky):
    keep = 0.5

class NoGradient(Leaky):
    backward = None

class Forgetful(Builtin):
    """LSTM whose backward halves the gradient along the cell state."""
    def __init__(self):
        super().__init__("lstm")
    def backward(self, *given):
        got = super().backward(*given)
        return got | {"c0": got["c0"] / 2}
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "cells.py").write_text(CELLS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measure_row(text, folder):
    result = decay(parse_spec(f"steps = 60\nseeds = 2\n[[network]]\n{text}", folder=folder))
    assert len(result.rows) == 1
    return result.rows[0]


def test_a_custom_cell(folder):
    found = measure_row('target = "cells.py:Leaky"', folder)
    assert found.rate == pytest.approx(np.log(0.9), abs=1e-12)
    assert (found.cell, found.hidden, found.inputs) == ("custom", 2, 3)
    assert found.integrity.gradient < 1e-9
    assert found.notes == ("the profile alone is measured, by its own backward",)


def test_a_wrong_backward_is_reported(folder):
    found = measure_row('target = "cells.py:Hasty"', folder)
    assert found.rate == pytest.approx(np.log(0.5), abs=1e-12)
    assert "audit it before believing this row" in found.notes[-1]


@pytest.mark.parametrize("target", ["builtin:gru", "torch.nn:LSTM", "keras.layers:LSTM"])
def test_a_known_cell_has_the_profile_of_the_equations(folder, target):
    found = measure_row(f'target = "{target}"\nhidden = 4\ninputs = 3', folder)
    assert found.name == f"{found.cell} {target} uniform"
    assert found.integrity.gradient < 1e-5 if "torch" in target else True
    (departs,) = [note for note in found.notes if "departs" in note]
    assert float(departs.split()[-2]) < 1e-3


def test_a_wrong_known_cell_departs_from_the_equations(folder):
    found = measure_row('target = "cells.py:Forgetful"\nhidden = 4\ninputs = 3', folder)
    said = " ".join(found.notes)
    assert "its profile departs from that of the equations by at most" in said
    assert "audit it before believing this row" in said


def test_trained_weights_in_somebody_elses_code(folder):
    params = uniform(np.random.default_rng(5), LSTM(), 3, 4)
    np.savez(folder / "w.npz", **params)
    own = measure_row('weights = "w.npz"\ncell = "lstm"\nconvention = "canonical"', folder)
    theirs = measure_row(
        'weights = "w.npz"\ncell = "lstm"\nconvention = "canonical"\ntarget = "torch.nn:LSTM"',
        folder,
    )
    assert theirs.name == "lstm torch.nn:LSTM w.npz"
    assert (theirs.hidden, theirs.inputs) == (own.hidden, own.inputs) == (4, 3)
    assert [note for note in theirs.notes if "departs" in note]


def test_assumptions_about_a_file_are_reported(folder, few_figures):
    params = uniform(np.random.default_rng(5), LSTM(), 3, 4)
    np.savez(
        folder / "w.npz",
        weight_ih_l0=params["W"].T,
        weight_hh_l0=params["U"].T,
        bias_ih_l0=params["b"],
    )
    done = CliRunner().invoke(
        main,
        [
            "decay",
            "--weights",
            "w.npz",
            "--cell",
            "lstm",
            "--steps",
            "20",
            "--seeds",
            "1",
            "--out",
            "o",
        ],
    )
    assert done.exit_code == 0, done.output
    assert "not in the file, and taken as zero" in " ".join(done.output.split())
    (found,) = json.loads((folder / "o/decay.json").read_text())["rows"]
    assert any("taken as zero" in note for note in found["notes"])
    assert "taken as zero" in (folder / "o/decay.md").read_text()
    assert "taken as zero" in (folder / "o/decay.html").read_text()


def test_the_command_line_is_reproducible_to_the_last_bit(folder, few_figures):
    def run(out, *more):
        given = [
            "decay",
            "--target",
            "cells.py:Leaky",
            "--steps",
            "20",
            "--seeds",
            "2",
            "--out",
            out,
            *more,
        ]
        done = CliRunner().invoke(main, given)
        assert done.exit_code == 0, done.output
        assert "custom cells.py:Leaky: the profile alone" in " ".join(done.output.split())
        return json.loads((folder / out / "decay.json").read_text())["rows"]

    assert run("one") == run("two", "--workers", "2")


def test_the_users_own_sequences(folder):
    x = np.random.default_rng(0).standard_normal((2, 60, 3))
    np.save(folder / "x.npy", x)
    found = measure_row('target = "cells.py:Leaky"\ndata = "x.npy"', folder)
    assert found.rate == pytest.approx(np.log(0.9), abs=1e-12)
    network = open_network(
        NetworkSpec(target="builtin:lstm", init="uniform", hidden=4, data="x.npy", inputs=3), 60, 2
    )
    assert (network.sequence(np.random.default_rng(0), 60, 1) == x[1]).all()
    params = network.params(np.random.default_rng(1))
    assert np.isfinite(
        adjoint_profile(
            network.cell, params, x[0], network.probes(np.random.default_rng(2), 2)
        ).log_norm
    ).all()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('target = "cells.py:NoGradient"', TargetError, "has no backward"),
        ('target = "builtin:lstm-layers2"', TargetError, "one layer in one direction"),
        ('target = "cells.py:Nobody"', TargetError, "no Nobody there"),
        ('target = "nothing"', UsageError, "should be written"),
        (
            'target = "cells.py:Leaky"\ninit = "uniform"',
            UsageError,
            "draws its own parameters; leave init out",
        ),
        (
            'target = "builtin:rnn"\ninit = "chrono:10"',
            UsageError,
            "no gate that keeps the old state",
        ),
        (
            'target = "builtin:rnn"\nlayer = "a"',
            UsageError,
            r"line 5: network\[1\].layer is about a file of weights",
        ),
        ('target = 3', UsageError, r"line 4: network\[1\].target is 3, but should be a string"),
        ('target = "torch.nn:GRU"\nweights = "w.npz"\ncell = "gru"', WeightsFileError, "as a gru"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_line(folder, text, error, message):
    np.savez(folder / "w.npz", **uniform(np.random.default_rng(5), LSTM(), 3, 4))
    with pytest.raises(error, match=message) as raised:
        measure_row(text, folder)
    assert "\n" not in str(raised.value)
