"""Read damaged files of every format.

Each file must be read, or be refused with a one-line gatecheck error that names it. Run
``PYTHONPATH=tests python -m helpers.fuzzing.files [--count N] [--seed S] [FORMAT ...]``. The
current file is in the folder that is printed first, so a file that ends the process can be
inspected.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import click

from gatecheck.cli.base import progress_bar
from gatecheck.errors import GatecheckError
from helpers.fuzzing.formats import FORMATS
from helpers.fuzzing.mutations import TRACE_FILE, apply_damage

TIME_LIMIT = 10
"""Time limit of a file."""

MEMORY_LIMIT = 2**29
"""Limit on the growth of this process's memory at a file.

The largest bomb holds 2²⁵ bytes.
"""

FORBIDDEN_EVENTS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pty.spawn",
)

_reading = False
_events: list[str] = []


def _record_event(event, arguments):
    if _reading and (
        event in FORBIDDEN_EVENTS
        or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"))
    ):
        _events.append(f"{event} {arguments[0]}")


sys.addaudithook(_record_event)


class HangError(BaseException):
    """A file takes too long; not an Exception, which a reader might catch."""


def _raise_hang(*_):
    raise HangError(f"took more than {TIME_LIMIT} s")


def outcome(form, path):
    """Return what is wrong with how a file is read, or nothing."""
    global _reading
    _events.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
    wrong = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _reading = True
            form.read(path)
    except (GatecheckError, click.UsageError) as error:
        message = str(error)
        if not form.inner and path.name not in message:
            wrong = f"the message does not name the file: {message!r}"
        elif "\n" in message or "\x1b" in message:
            wrong = f"the message is not one line: {message!r}"
        elif len(message) > 2000:
            wrong = f"the message has {len(message)} characters: {message[:300]!r}"
    except (Exception, HangError) as error:
        wrong = "".join(traceback.format_exception(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _reading = False
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if _events or Path(TRACE_FILE).exists():
        return f"it did {_events}"
    return wrong or (f"it took {growth:,} bytes" if growth > MEMORY_LIMIT else "")


def fuzz(name, folder, count, seed, tick=None):
    """Read damaged files of a format.

    Returns
    -------
    dict
        What is wrong, by the number of the file.
    """
    form, rng = FORMATS[name], random.Random(f"{name} {seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of third-party writers
        seeds = form.seeds(folder)
    path = folder / form.name
    for good in seeds:
        path.write_bytes(good)
        if wrong := outcome(form, path):
            raise AssertionError(f"a good file is refused: {wrong}")
    failures = {}
    before = signal.signal(signal.SIGALRM, _raise_hang)
    # Code in C does not react to a signal.
    faulthandler.dump_traceback_later(max(60, count), exit=True)
    try:
        for number in range(count):
            path.write_bytes(apply_damage(form.damage, rng.choice(seeds), rng, seeds))
            with contextlib.chdir(folder):
                if wrong := outcome(form, path):
                    failures[number] = wrong
                    path.with_name(f"wrong-{number}-{path.name}").write_bytes(path.read_bytes())
            if tick is not None:
                tick(number + 1, count, name)
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    return failures


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "formats", nargs="*", choices=[[], *FORMATS], metavar="FORMAT", help=", ".join(FORMATS)
    )
    parser.add_argument("--count", type=int, default=10_000, help="files of each format")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same files")
    chosen = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="gatecheck-fuzz-"))
    print(f"{chosen.count} files of each format, seed {chosen.seed}, in {work}")
    failure_count = 0
    for name in chosen.formats or FORMATS:
        folder = work / name
        folder.mkdir()
        start = time.process_time()
        with progress_bar("fuzz") as tick:
            failures = fuzz(name, folder, chosen.count, chosen.seed, tick)
        print(
            f"{name}: {len(failures)} wrong of {chosen.count}, {time.process_time() - start:.1f} s",
            flush=True,
        )
        for number, wrong in list(failures.items())[:5]:
            print(f"  file {number} in {(folder / FORMATS[name].name).parent}): {wrong}")
        failure_count += len(failures)
    sys.exit(failure_count > 0)


if __name__ == "__main__":
    main()
