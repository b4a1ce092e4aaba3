"""Exit status and one line of text for each mistake in a command line."""

import shlex

import pytest

MISTAKES = [
    ("audit builtin:gru --no-such-option", 2, "No such option"),
    ("audit builtin:gru --profile slow", 2, "slow"),
    ("audit builtin:gru --only no_such", 2, "there is no property no_such"),
    ("audit builtin:gru --seed -1", 2, "-1"),
    ("audit gru", 2, "should be written builtin:CELL"),
    ("audit builtin:gruu", 2, "there is no cell 'gruu'"),
    ("audit torch.nn:Linear", 2, "not a recurrent class"),
    ("audit correct.py:MyLSTM --cell lstmm", 2, "there is no cell 'lstmm'"),
    ("audit correct.py:MyLSTM --convention torhc", 2, "there is no convention 'torhc'"),
    ("audit --replay x.npz", 2, "need a TARGET"),
    ("audit --cell gru", 2, "need a TARGET"),
    ("audit builtin:gru --profile quick --only outputs_are_causal --replay ''", 2, ""),
    (
        "audit builtin:gru --convention pytorch --profile quick --only outputs_are_causal",
        2,
        "convention",
    ),
    ("audit builtin:gru --cell lstm --profile quick --only outputs_are_causal", 2, "lstm"),
    ("audit --device cpu", 2, "need a TARGET"),
    (
        "audit builtin:gru --device cpu",
        2,
        "builtin:gru has no choice of devices; --device cpu does not apply to it",
    ),
    ("audit correct.py:MyLSTM --device cuda", 2, "has no choice of devices"),
    ("audit torch.nn:GRU --device cdua", 2, "PyTorch knows no device 'cdua'"),
    ("audit torch.nn:GRU --device cuda:77", 3, "PyTorch cannot compute on 'cuda:77' here: "),
    (
        "audit net.py:Net --cell gru --device cuda:77",
        3,
        "PyTorch cannot compute on 'cuda:77' here: ",
    ),
    ("audit builtin:gru --replay none.npz", 2, "there is no file none.npz"),
    ("audit builtin:gru --replay correct.py", 2, "correct.py does not hold a gatecheck case"),
    (
        "audit builtin:gru --replay .",
        2,
        ". cannot be read: it is a folder, but should be a plain file",
    ),
    (
        "audit builtin:rnn --profile quick --only outputs_are_causal --json none/out.json",
        2,
        "none/out.json cannot be written",
    ),
    ("audit builtin:rnn --json .", 2, "is a directory"),
    (
        "audit broken.py:MyLSTM --profile quick --only gradients_within_budget --cases correct.py",
        2,
        "correct.py",
    ),
    ("calibrate", 2, "Missing argument"),
    ("calibrate builtin:gru --cases 0", 2, "0"),
    ("decay --cell gruu", 2, "there is no cell 'gruu'"),
    ("decay --init none", 2, "there is no initializer 'none'"),
    ("decay --init chrono:x", 2, "chrono:TMAX"),
    ("decay --init chrono:1", 2, "chrono:TMAX"),
    ("decay --hidden 0", 2, ""),
    ("decay --steps 0", 2, ""),
    ("decay --steps -5", 2, ""),
    ("decay --inputs 0", 2, ""),
    ("decay --seeds 0", 2, ""),
    ("decay --cell rnn --hidden 4 --steps 20 --seeds 1 --out correct.py", 2, "correct.py"),
    ("nonsense", 2, "No such command"),
    ("audit none.py:MyLSTM", 3, "there is no file none.py"),
    ("audit no_such_package:MyLSTM", 3, "ModuleNotFoundError"),
    ("audit import_error.py:MyLSTM", 3, "ZeroDivisionError: division by zero"),
    ("audit no_class.py:MyLSTM", 3, "there is no MyLSTM there"),
    ("audit no_class.py:x", 3, "has no forward"),
    ("audit exits.py:MyLSTM", 3, "SystemExit"),
]


@pytest.mark.parametrize(("command", "status", "fragment"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_usage_error_is_one_line(run_gatecheck, command, status, fragment):
    got, printed = run_gatecheck(*shlex.split(command))
    assert got == status, printed
    assert fragment in printed
    assert "Traceback" not in printed
    # click's own: usage, a hint, an empty line, the error
    assert len(printed.strip().splitlines()) <= 4, printed
