"""Read one file as gatecheck does, in this process alone, and print what it took.

Run ``PYTHONPATH=tests python -m helpers.measured_read READER PATH``.
"""

import json
import os
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

TIME_LIMIT = 60
"""Seconds after which a reader is ended."""

MEMORY_LIMIT = 8 * 2**30
"""Bytes of addresses that a reader may have: a bomb harms no other process."""

LIBRARIES = {
    ".pt": ["torch", "tarfile"],
    ".onnx": ["onnx", "onnx.inliner", "onnx.reference", "gatecheck.weights.onnx_files"],
    ".keras": ["h5py"],
    ".h5": ["h5py"],
    ".safetensors": ["safetensors"],
}
"""Modules that a reader imports, whose memory is not that of the file."""


class Outcome(NamedTuple):
    """Answer of a reader to a file, and what it took."""

    error: str
    message: str
    seconds: float
    peak: int


def read_weights(path):
    from gatecheck.weights import load

    return lambda: load(path)


def read_spec(path):
    from gatecheck.decay.spec import read_spec

    return lambda: read_spec(path)


def read_case(path):
    from gatecheck.cases import Case

    return lambda: Case.load(path)


def read_sequences(path):
    from gatecheck.decay.study.sequences import read_sequences

    return lambda: read_sequences(path, 3)


def read_project(path):
    from gatecheck.cli.project import find_settings

    os.chdir(path.parent)
    return find_settings


def read_expected(path):
    from gatecheck.auditing import selection
    from gatecheck.cli.project import ExpectedFailures

    assert selection
    return lambda: ExpectedFailures().convert(str(path), None, None)


def read_manifest(path):
    from gatecheck.vectors.files import read_manifest

    return lambda: read_manifest(path.parent)


def read_answer(path):
    from gatecheck.vectors import parsing

    def read():
        data = parsing.read_bytes(path.parent, path.name)
        if path.suffix == ".npz":
            return parsing.parse_npz(data)
        return {k: parsing.parse_array(k, v) for k, v in parsing.parse_json(data).items()}

    return read


def read_part(path):
    from gatecheck.decay.jobs.checkpoints import PartStore
    from gatecheck.errors import UsageError

    def refuse(message):
        raise UsageError(message)

    def read():
        PartStore(path.parent).begin_sweep([path.stem], True, refuse)

    return read


def read_digest(path):
    from gatecheck.decay.spec import NetworkSpec
    from gatecheck.decay.study.networks import file_digests

    return lambda: file_digests(NetworkSpec(data=str(path)))


def read_library(path):
    from gatecheck.targets.adapters.library import adapt

    return lambda: adapt(str(path), "f")


def read_code(path):
    """Run a Python file instead, to test the measurement."""
    return lambda: exec(path.read_text(encoding="utf-8"), {})


READERS = {
    name.removeprefix("read_"): function
    for name, function in list(globals().items())
    if name.startswith("read_")
}


def resident(key):
    """Return a size of this process's memory in bytes: VmHWM, its peak, or VmRSS."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def measure(reader, path, environment=None):
    """Read a file in a new process.

    Returns
    -------
    Outcome
        Its error is ``hang`` or ``death`` if the process had to be ended, or died.
    """
    command = [sys.executable, "-m", "helpers.measured_read", reader, str(path)]
    start = time.monotonic()
    try:
        child = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment or {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome("hang", f"more than {TIME_LIMIT} s", time.monotonic() - start, 0)
    if child.returncode:
        return Outcome("death", f"status {child.returncode}: {child.stderr[-2000:]}", 0.0, 0)
    return Outcome(*json.loads(child.stdout.splitlines()[-1]))


def main():
    """Read the file that the command line names."""
    reader, path = sys.argv[1], Path(sys.argv[2])
    for module in LIBRARIES.get(path.suffix, []) if reader == "weights" else []:
        import_module(module)
    read = READERS[reader](path)
    from gatecheck.errors import GatecheckError

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    # That of getrusage begins with the memory of the process that started this one.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before, start = resident("VmRSS"), time.monotonic()
    error, message = "", ""
    try:
        read()
    except GatecheckError as refusal:
        error, message = "refused", str(refusal)
    except BaseException as failure:
        error, message = "traceback", f"{type(failure).__name__}: {failure}"[:500]
    seconds = time.monotonic() - start
    print(json.dumps(Outcome(error, message, seconds, resident("VmHWM") - before)))


if __name__ == "__main__":
    main()
