"""Commands that are killed at random moments leave whole files, old or new; and a sweep goes on to
the same bytes.
"""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from gatecheck._util.atomic_write import UNFINISHED

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="signals to a group of processes are POSIX's"
)

KILLS = int(os.environ.get("GATECHECK_KILLS", "2"))
"""How often each command is killed."""

WRITES = {
    "audit": "audit tests_target.py:Cell --profile quick --only outputs_are_causal --json out/a.json --html out/a.html --junit out/a.xml",
    "vectors": "vectors export out/v --cell rnn --cases 2",
    "decay": "decay --cell lstm --cell rnn --init uniform --hidden 16 --inputs 2 --steps 2000 --seeds 2 --out out",
}

TARGET = "from gatecheck import Builtin\nclass Cell(Builtin):\n    def __init__(self):\n        super().__init__('rnn')\n"


def start(words, folder):
    code = "import sys; sys.modules['matplotlib'] = None; from gatecheck.cli import main; main(prog_name='gatecheck')"
    # a picture takes long
    code = (
        code
        if words.startswith("decay")
        else code.replace("sys.modules['matplotlib'] = None; ", "")
    )
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-c", code, *words.split()], cwd=folder, start_new_session=True, **quiet
    )


def files(folder):
    """What a command wrote, without what it was still writing."""
    found = {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
    return {
        name: data
        for name, data in found.items()
        if UNFINISHED not in name and not any(part[0] == "." for part in name.split("/"))
    }


def prepared(folder):
    (folder / "out").mkdir(parents=True)
    (folder / "tests_target.py").write_text(TARGET)
    return folder


@pytest.mark.parametrize("name", WRITES)
def test_a_kill_leaves_whole_files_and_the_rest_can_be_done(tmp_path, name):
    rng, whole = random.Random(name), prepared(tmp_path / "whole")
    began = time.monotonic()
    done = start(WRITES[name], whole)
    assert (done.communicate()[1], done.returncode) == (b"", 0)
    took, expected = time.monotonic() - began, files(whole / "out")
    assert expected
    folder = prepared(tmp_path / "killed")
    old = dict.fromkeys(expected, b"old") if name == "audit" else {}
    for path, data in old.items():
        (folder / "out" / path).write_bytes(data)
    words = WRITES[name]
    for _ in range(KILLS):
        process = start(words, folder)
        time.sleep(rng.uniform(0.2, 1) * took)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for path, data in files(folder / "out").items():
            assert path.startswith("parts/") or data in (old.get(path), expected[path]), path
        if name == "vectors" and (folder / "out" / "v").exists():
            break
        words = f"{WRITES[name]} --resume" if name == "decay" else words
    if not (folder / "out" / "v").exists():
        last = start(words, folder)
        assert (last.communicate()[1], last.returncode) == (b"", 0)
    assert files(folder / "out") == expected
