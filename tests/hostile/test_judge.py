"""A target that changes its process changes neither the judge nor later audits."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import gatecheck as gk
from gatecheck.auditing.audit import run_audit
from gatecheck.auditing.isolation.process import Isolation
from gatecheck.auditing.isolation.run import open_target
from gatecheck.auditing.options import AuditOptions
from gatecheck.errors import TargetError

linux = pytest.mark.skipif(sys.platform != "linux", reason="the C library is Linux's")

FORWARD = "forward_within_budget"

TARGET = """
import builtins, ctypes, math, operator, os, socket, struct, sys, threading, time
import numpy as np
import scipy.special

right_tanh = np.tanh

def set_mxcsr(bits):
    library = ctypes.CDLL("libm.so.6")
    environment = ctypes.create_string_buffer(64)
    library.fegetenv(environment)
    control = struct.unpack_from("<I", environment, 28)[0] | bits
    struct.pack_into("<I", environment, 28, control)
    library.fesetenv(environment)

{before}

class Mine:
    cell = "rnn"

    def forward(self, params, x, h0, c0=None):
        {call}
        h = np.zeros((x.shape[1], len(params["U"])), x.dtype) if h0 is None else h0.copy()
        y = np.zeros((*x.shape[:2], len(params["U"])), x.dtype)
        for t in range(len(x)):
            h = y[t] = (
                1.01 * right_tanh(x[t] @ params["W"] + h @ params["U"] + params["b"])
            ).astype(x.dtype)
        {after}
        return y, h
"""
"""A plain RNN whose values are 1 % too large, with lines that should hide it."""

ALWAYS_EQUAL = """
class Equal(np.ndarray):
    shape = property(lambda self: np.ndarray.view(self, np.ndarray).shape)
    def __eq__(self, other): return np.ones(1, bool)
    def __ne__(self, other): return np.zeros(1, bool)
    def __sub__(self, other): return np.zeros(1)
    __rsub__ = __abs__ = __sub__
    def __array_ufunc__(self, *arguments, **more): return np.zeros(1)
    def __array_function__(self, *arguments, **more): return np.zeros(1)
"""

LIES = {
    "a faster tanh": ("np.tanh = lambda a, *r, **k: 1.01 * right_tanh(a)", "", ""),
    "every ufunc": (
        "for name in [n for n in np.__all__ if isinstance(getattr(np, n), np.ufunc)]:\n"
        "    if name not in ('tanh', 'matmul', 'add', 'multiply'):\n"
        "        setattr(np, name, lambda *a, **k: np.zeros(1))",
        "",
        "",
    ),
    "expit": ("scipy.special.expit = lambda a: 0 * a", "", ""),
    "comparisons of NumPy": (
        "np.array_equal = np.allclose = np.isclose = lambda *a, **k: True\n"
        "np.abs = np.absolute = lambda a, *r, **k: 0 * np.asarray(a)\n"
        "np.testing.assert_array_equal = lambda *a, **k: None",
        "",
        "",
    ),
    "built-in functions": (
        "builtins.abs = lambda a: 0 * a\nbuiltins.max = lambda *a, **k: 0\n"
        "operator.eq = operator.le = lambda *a: True\nmath.isnan = lambda a: False",
        "",
        "",
    ),
    "modules of gatecheck": (
        "import gatecheck.implementation.session as s, gatecheck.implementation.plain as p\n"
        "s._answer = lambda call, returned, failure, **f: s.Answer(returned, None)\n"
        "p.to_plain = lambda value, **k: value",
        "",
        "",
    ),
    "a subclass that says equal": (ALWAYS_EQUAL, "", "y, h = y.view(Equal), h.view(Equal)"),
    "a masked array": ("", "", "y = np.ma.masked_array(y, mask=True)"),
    "an array that grows later": ("", "", "threading.Timer(0.01, y.fill, (0,)).start()"),
    "flushing to zero": ("set_mxcsr(0x8040)", "", ""),
    "rounding upwards": ("ctypes.CDLL('libm.so.6').fesetround(0x800)", "", ""),
    "rounding to zero in a call": ("", "ctypes.CDLL('libm.so.6').fesetround(0xC00)", ""),
    "settings of NumPy": ("np.seterr(all='raise')", "np.seterr(all='ignore')", ""),
}


def write_target(folder, before="", call="", after=""):
    """Write a target with these lines; return its name."""
    path = folder / "mine.py"
    path.write_text(TARGET.format(before=before, call=call or "pass", after=after or "pass"))
    return f"{path}:Mine"


@linux
@pytest.mark.parametrize("lie", LIES)
def test_wrong_values_fail_whatever_the_process_does_to_itself(lie, tmp_path):
    with Isolation() as process, open_target(process, write_target(tmp_path, *LIES[lie])) as mine:
        result = run_audit(mine, AuditOptions("quick", (FORWARD,), diagnose=False))
    (found,) = result.properties
    assert found.outcome in ("failed", "crashed"), found
    assert "bug in gatecheck" not in found.reason
    assert "Traceback" not in found.reason


COMMAND = "from gatecheck.cli import main; main()"


def test_later_audits_are_not_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "right").mkdir()
    source = TARGET.format(before="", call="pass", after="pass").replace("1.01 * ", "1 * ")
    (tmp_path / "right" / "mine.py").write_text(source)
    command = [sys.executable, "-c", COMMAND, "audit", "--profile", "quick", "--only", FORWARD]
    verdicts = []
    for name in (
        write_target(tmp_path, *LIES["a faster tanh"]),
        f"{tmp_path / 'right' / 'mine.py'}:Mine",
    ):
        done = subprocess.run([*command, name], capture_output=True, text=True, cwd=tmp_path)
        verdicts.append(done.returncode)
    assert verdicts == [1, 0]


# ---- in this process

HERE = {
    "a faster tanh": ("np.tanh = lambda a: 1.01 * right(a)", "numpy.tanh is no longer"),
    "a sum": ("np.sum = lambda *a, **k: 0.0", "numpy.sum is no longer the original"),
    "two functions": ("np.abs = np.matmul = np.add", "numpy.abs, numpy.matmul is no longer"),
    "rounding": ("ctypes.CDLL('libm.so.6').fesetround(0x800)", "rounds in another direction"),
    "flushing": ("mxcsr(0x8040)", "flushes subnormal numbers to zero"),
}

IN_PROCESS = """
import ctypes, struct
import numpy as np
import gatecheck as gk

right = np.tanh

def mxcsr(bits):
    library = ctypes.CDLL("libm.so.6")
    environment = ctypes.create_string_buffer(64)
    library.fegetenv(environment)
    struct.pack_into("<I", environment, 28, struct.unpack_from("<I", environment, 28)[0] | bits)
    library.fesetenv(environment)

class Mine(gk.Builtin):
    def forward(self, *arguments, **more):
        LINE
        return super().forward(*arguments, **more)

result = gk.audit(Mine("rnn"), profile="quick", only=["forward_within_budget"], diagnose=False)
print(result.properties[0].outcome, result.properties[0].reason)
"""


@linux
@pytest.mark.parametrize("change", HERE)
def test_a_change_of_this_process_is_an_error_that_names_it(change, tmp_path):
    line, says = HERE[change]
    (tmp_path / "run.py").write_text(IN_PROCESS.replace("LINE", line))
    done = subprocess.run([sys.executable, tmp_path / "run.py"], capture_output=True, text=True)
    assert done.stdout.startswith("failed"), done.stdout + done.stderr
    assert says in done.stdout
    assert "gatecheck audit" in done.stdout


def test_a_function_replaced_before_the_import_is_noticed(tmp_path):
    code = """
        import numpy as np
        right = np.tanh
        np.tanh = lambda a, *r, **k: 1.01 * right(a)
        import gatecheck as gk
        try:
            gk.audit(gk.Builtin("rnn"), profile="quick")
        except gk.errors.TargetError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert "numpy.tanh is wrong by" in done.stdout, done.stdout + done.stderr


def test_a_target_in_this_process_may_set_how_numpy_warns():
    class Mine(gk.Builtin):
        def forward(self, *arguments, **more):
            np.seterr(all="raise")
            return super().forward(*arguments, **more)

    before = np.geterr()
    assert gk.audit(Mine("rnn"), profile="quick", only=[FORWARD]).ok
    assert np.geterr() == before


def test_a_restored_function_is_no_change(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(np, "tanh", np.sinh)
        with pytest.raises(TargetError, match=r"numpy\.tanh is wrong"):
            gk.audit(gk.Builtin("rnn"), profile="quick", only=[FORWARD])
    assert gk.audit(gk.Builtin("rnn"), profile="quick", only=[FORWARD]).ok
