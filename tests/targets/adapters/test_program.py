"""Programs: right ones pass, faulty ones fail, hostile ones give a clear error."""

import shlex
import sys
import time

import numpy as np
import pytest

from gatecheck.auditing import audit, explore
from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.errors import ContractError, TargetCrashError, TargetError, UsageError
from gatecheck.kernels import Builtin
from gatecheck.targets.adapters import program as process
from gatecheck.targets.loading import load
from helpers.paths import EXAMPLES

RNN = EXAMPLES / "rnn_program.py"

PROGRAM_SOURCE = """
import sys, time, os, math
source, sink = sys.stdin.buffer, sys.stdout.buffer
def request():
    what = source.readline().decode().split()
    while (line := source.readline()) not in (b"end\\n", b""):
        source.read(math.prod(map(int, line.split()[3:])) * (4 if b"float32" in line else 8))
    if not what:
        sys.exit(0)
    return what
def say(text):
    sink.write(text if isinstance(text, bytes) else text.encode())
    sink.flush()
request()
say("gatecheck 1\\ncell rnn\\nend\\n")
while True:
    what, dtype, T, B, D, H = request()
    y = f"array y {dtype} {T} {B} {H}\\n".encode() + b"\\0" * (int(T) * int(B) * int(H) * 8)
"""
"""A program that describes itself; indented code for requests is appended."""


def random_case(cell, seed, sizes=(5, 3, 2, 4)):
    return draw(as_cell(cell), Sizes(*sizes), seed=seed, dtype="float64")


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setitem(explore.PROFILES, "quick", 4)


@pytest.fixture
def program_target(tmp_path):
    """Return the target of a program in Python."""

    def make(source):
        (tmp_path / "program.py").write_text(source)
        return f"exec:{shlex.join([sys.executable, str(tmp_path / 'program.py')])}"

    return make


def test_a_right_program_passes(compiled):
    result = audit.audit(load(f"exec:{compiled('program.c')} lstm"), profile="quick")
    assert result.verdict == "pass", result.findings
    assert {"gradients_within_budget", "lengths_within_budget"} <= {
        p.name for p in result.properties if p.outcome == "passed"
    }
    assert result.limitations == []


def test_a_wrong_backward_is_found(compiled):
    only = ["forward_within_budget", "gradients_within_budget"]
    result = audit.audit(
        load(f"exec:{compiled('program.c', '-DBUG=1')} gru"), profile="quick", only=only
    )
    assert [p.outcome for p in result.properties] == ["passed", "failed"]


@pytest.mark.parametrize(("more", "verdict"), [("", "pass"), (" wrong", "fail")])
def test_a_program_in_python(more, verdict):
    found = load(f"exec:{shlex.join([sys.executable, str(RNN)])}{more}")
    assert (found.dtypes, found.abilities) == (("float64",), frozenset())
    only = [
        "forward_within_budget",
        "empty_sequence",
        "empty_batch",
        "absent_arrays_mean_zero",
        "repeated_calls_are_identical",
    ]
    assert audit.audit(found, profile="quick", only=only).verdict == verdict


def test_the_values_arrive(compiled):
    case = random_case("gru", 3)
    expected = Builtin("gru").backward(
        case.params, case["x"], case["h0"], None, case["dy"], case["dhT"], None
    )
    for name, gradient in load(f"exec:{compiled('program.c')} gru").backward(case).items():
        np.testing.assert_allclose(
            gradient, expected[name.removeprefix("d")], rtol=1e-8, atol=1e-10
        )


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("", TargetCrashError, "ended with status 0 before it had answered describe$"),
        ("import sys; sys.exit(3)", TargetCrashError, "ended with status 3 before"),
        (
            "1 / 0",
            TargetCrashError,
            "ended with status 1 .*; its last line: ZeroDivisionError: division by zero$",
        ),
        ("import os; os.kill(os.getpid(), 11)", TargetCrashError, "was killed by SIGSEGV before"),
        (
            "import sys; print('hello'); print('end'); sys.stdin.read()",
            TargetError,
            "describes itself by 'hello', but should begin",
        ),
        (
            "while True: print('y')",
            ContractError,
            "answers describe with more than 100 lines, of which the first is 'y'",
        ),
        ("print('y' * 10**7)", ContractError, "a line of more than 4096 bytes, which begins b'yyy"),
        (
            "import os\nwhile True: os.write(1, bytes(range(256)))",
            ContractError,
            "answers describe with",
        ),
        (
            "import sys; sys.stdout.buffer.write(bytes(range(128, 256)) + b'\\nend\\n')",
            TargetError,
            "describes itself by",
        ),
    ],
)
def test_a_program_that_does_not_describe_itself(program_target, source, error, message):
    with pytest.raises(error, match=message) as caught:
        load(program_target(source))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (
            "say('debug: here\\n')",
            ContractError,
            "answers forward with 'debug: here', but should answer with 'array NAME DTYPE …' or "
            "'end'",
        ),
        ("say('end\\n')", ContractError, "answers forward without y, hT"),
        (
            "say('array z float64 1\\n')",
            ContractError,
            "answers forward with z, but should answer with y, hT",
        ),
        (
            "say('array y int32 1 1 1\\n')",
            ContractError,
            "y has dtype int32, but should have dtype float64, like x",
        ),
        (
            "say(f'array y {dtype} {T} {B}\\n')",
            ContractError,
            r"y has shape \(\d+, \d+\), but should have shape \(",
        ),
        ("say(y + b'no line\\n')", ContractError, "answers forward with 'no line'"),
        ("say(y + y)", ContractError, "answers forward with y twice"),
        (
            "say('refused no such size\\n')",
            TargetCrashError,
            "the program refused forward: no such size",
        ),
        ("say('refused\\n')", TargetCrashError, "refused forward: it does not say why"),
        (
            "say('array y flo'); sys.exit(2)",
            TargetCrashError,
            "ended with status 2 before it had answered forward",
        ),
        (
            "say(y[:-1]); sys.exit(0)",
            TargetCrashError,
            "ended with status 0 before it had answered forward",
        ),
        ("say(y[:-1]); os.abort()", TargetCrashError, "was killed by SIGABRT before"),
        (
            "os.close(1); time.sleep(60)",
            TargetCrashError,
            "closed its standard output before it had answered forward",
        ),
        (
            "sys.stderr.write('x' * 10**6 + '\\nthe end\\n\\n'); sys.exit(1)",
            TargetCrashError,
            "its last line: the end$",
        ),
        (
            "sys.stderr.write('why\\n'); sys.stderr.flush(); say('oh\\n'); time.sleep(60)",
            ContractError,
            "'oh', .*; its last line: why$",
        ),
    ],
)
def test_a_program_that_answers_wrongly(program_target, answer, error, message):
    found = load(program_target(f"{PROGRAM_SOURCE}    {answer}\n"))
    start = time.monotonic()
    for _ in range(2):  # it is started again, and answers are in step
        with pytest.raises(error, match=message) as caught:
            found.forward(random_case("rnn", 0))
        assert type(caught.value) is error
        assert "\n" not in str(caught.value)
    assert time.monotonic() - start < process.TIMEOUT_S


@pytest.mark.parametrize(
    "answer",
    [
        "time.sleep(60)",
        "os.spawnlp(os.P_WAIT, 'sleep', 'sleep', '60')",
        "say('array y'); time.sleep(60)",
    ],
)
def test_hanging_program_is_killed_and_given_up(program_target, monkeypatch, answer):
    found = load(program_target(f"{PROGRAM_SOURCE}    {answer}\n"))
    monkeypatch.setattr(process, "TIMEOUT_S", 0.5)
    for _ in range(process.MAX_HANGS):
        with pytest.raises(
            TargetCrashError,
            match=r"did not answer forward within 0.5 s \(an answer must be flushed\)",
        ):
            found.forward(random_case("rnn", 0))
    with pytest.raises(
        TargetCrashError, match="left 3 requests unanswered and is not called again"
    ):
        found.forward(random_case("rnn", 0))


def test_a_program_that_does_not_read_is_ended(program_target, monkeypatch):
    found = load(
        program_target(
            "print('gatecheck 1\\ncell rnn\\nend', flush=True)\nimport time; time.sleep(60)"
        )
    )
    monkeypatch.setattr(process, "TIMEOUT_S", 0.5)
    with pytest.raises(TargetCrashError, match="did not answer forward"):
        found.forward(random_case("rnn", 0, sizes=(64, 16, 32, 4)))


def test_one_crash_does_not_spoil_the_next_call(program_target):
    target = program_target(
        f"{PROGRAM_SOURCE}    if T == '0': sys.exit(1)\n    say('refused still here\\n')\n"
    )
    found, case = load(target), random_case("rnn", 0)
    with pytest.raises(TargetCrashError, match="ended with status 1"):
        found.forward(case.replace(x=case["x"][:0], dy=case["dy"][:0]))
    with pytest.raises(TargetCrashError, match="refused forward: still here"):
        found.forward(case)


def test_process_ends_with_its_target(program_target):
    made = process.Program(
        shlex.split(program_target(PROGRAM_SOURCE + "    pass\n").removeprefix("exec:")), "it"
    )
    made.describe()
    running = made._process.process
    assert running.poll() is None
    del made
    assert running.returncode is not None


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("exec:", UsageError, "should be written builtin:CELL"),
        ("exec:'", UsageError, "cannot be read as a command"),
        (
            "exec:./no-such-program x",
            TargetError,
            "./no-such-program cannot be started: No such file",
        ),
        ("exec:/", TargetError, "/ cannot be started: Permission denied"),
    ],
)
def test_what_cannot_be_started(target, error, message):
    with pytest.raises(error, match=message):
        load(target)
