"""Commands killed at random moments: their files are whole, old or new.

A sweep that is resumed gives the same bytes.
"""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from gatecheck._util.atomic_write import TEMP_SUFFIX

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="signals to a group of processes are POSIX's"
)

KILL_COUNT = int(os.environ.get("GATECHECK_KILLS", "2"))
"""Number of times that each command is killed."""

COMMANDS = {
    "audit": "audit tests_target.py:Cell --profile quick --only outputs_are_causal "
    "--json out/a.json --html out/a.html --junit out/a.xml",
    "vectors": "vectors export out/v --cell rnn --cases 2",
    "decay": "decay --cell lstm --cell rnn --init uniform --hidden 16 --inputs 2 "
    "--steps 2000 --seeds 2 --out out",
}

TARGET = """from gatecheck import Builtin
class Cell(Builtin):
    def __init__(self):
        super().__init__('rnn')
"""


def start_command(words, folder):
    code = (
        "import sys; sys.modules['matplotlib'] = None; "
        "from gatecheck.cli import main; main(prog_name='gatecheck')"
    )
    # A figure takes long to draw.
    code = (
        code
        if words.startswith("decay")
        else code.replace("sys.modules['matplotlib'] = None; ", "")
    )
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-c", code, *words.split()], cwd=folder, start_new_session=True, **quiet
    )


def written_files(folder):
    """Return the files that a command wrote, without unfinished ones."""
    contents = {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
    return {
        name: data
        for name, data in contents.items()
        if TEMP_SUFFIX not in name and not any(part[0] == "." for part in name.split("/"))
    }


def prepare_folder(folder):
    (folder / "out").mkdir(parents=True)
    (folder / "tests_target.py").write_text(TARGET)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_command_leaves_whole_files_and_resumes(tmp_path, name):
    rng, complete_folder = random.Random(name), prepare_folder(tmp_path / "whole")
    start_time = time.monotonic()
    uninterrupted = start_command(COMMANDS[name], complete_folder)
    assert (uninterrupted.communicate()[1], uninterrupted.returncode) == (b"", 0)
    duration, expected = time.monotonic() - start_time, written_files(complete_folder / "out")
    assert expected
    folder = prepare_folder(tmp_path / "killed")
    old = dict.fromkeys(expected, b"old") if name == "audit" else {}
    for path, data in old.items():
        (folder / "out" / path).write_bytes(data)
    words = COMMANDS[name]
    for _ in range(KILL_COUNT):
        process = start_command(words, folder)
        time.sleep(rng.uniform(0.2, 1) * duration)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for path, data in written_files(folder / "out").items():
            assert path.startswith("parts/") or data in (old.get(path), expected[path]), path
        if name == "vectors" and (folder / "out" / "v").exists():
            break
        words = f"{COMMANDS[name]} --resume" if name == "decay" else words
    if not (folder / "out" / "v").exists():
        last = start_command(words, folder)
        assert (last.communicate()[1], last.returncode) == (b"", 0)
    assert written_files(folder / "out") == expected
