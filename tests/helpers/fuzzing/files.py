"""Read damaged files of every format: each is read, or refused by an error of ours in one line that
names the file.

Run as a program: ``python tests/helpers/fuzzing/files.py [--count N] [--seed S] [FORMAT ...]``. The file at
hand lies in the folder that it names first, so that one which ends the process can be looked at.
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

from gatecheck.cli.base import bar
from gatecheck.errors import GatecheckError
from helpers.fuzzing.formats import FORMATS
from helpers.fuzzing.mutations import TRACE, several

SECONDS = 10
"""What a file may take."""

BYTES = 2**29
"""By how much the memory of this process may grow at a file; the largest bomb holds 2²⁵ bytes."""

FORBIDDEN = (
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
_seen: list[str] = []


def _watch(event, arguments):
    if _reading and (
        event in FORBIDDEN
        or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"))
    ):
        _seen.append(f"{event} {arguments[0]}")


sys.addaudithook(_watch)


class HangError(BaseException):
    """A file takes too long. No Exception, which a reader might catch."""


def _hang(*_):
    raise HangError(f"took more than {SECONDS} s")


def outcome(form, path):
    """What is wrong with how a file is read, or nothing."""
    global _reading
    _seen.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    wrong = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _reading = True
            form.read(path)
    except (GatecheckError, click.UsageError) as error:
        said = str(error)
        if not form.inner and path.name not in said:
            wrong = f"the message does not name the file: {said!r}"
        elif "\n" in said or "\x1b" in said:
            wrong = f"the message is not one line: {said!r}"
        elif len(said) > 2000:
            wrong = f"the message has {len(said)} characters: {said[:300]!r}"
    except (Exception, HangError) as error:
        wrong = "".join(traceback.format_exception(error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _reading = False
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if _seen or Path(TRACE).exists():
        return f"it did {_seen}"
    return wrong or (f"it took {grown:,} bytes" if grown > BYTES else "")


def fuzz(name, folder, count, seed, tick=None):
    """So many damaged files of a format: what is wrong, by the number of the file, and how many
    were refused.
    """
    form, rng = FORMATS[name], random.Random(f"{name} {seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other people's writers have to say
        seeds = form.seeds(folder)
    path = folder / form.name
    for good in seeds:
        path.write_bytes(good)
        if wrong := outcome(form, path):
            raise AssertionError(f"a good file is refused: {wrong}")
    found = {}
    before = signal.signal(signal.SIGALRM, _hang)
    # code in C does not answer to a signal
    faulthandler.dump_traceback_later(max(60, count), exit=True)
    try:
        for number in range(count):
            path.write_bytes(several(form.damage, rng.choice(seeds), rng, seeds))
            with contextlib.chdir(folder):
                if wrong := outcome(form, path):
                    found[number] = wrong
                    path.with_name(f"wrong-{number}-{path.name}").write_bytes(path.read_bytes())
            if tick is not None:
                tick(number + 1, count, name)
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    return found


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
    wrongs = 0
    for name in chosen.formats or FORMATS:
        folder = work / name
        folder.mkdir()
        start = time.process_time()
        with bar("fuzz") as tick:
            found = fuzz(name, folder, chosen.count, chosen.seed, tick)
        print(
            f"{name}: {len(found)} wrong of {chosen.count}, {time.process_time() - start:.1f} s",
            flush=True,
        )
        for number, wrong in list(found.items())[:5]:
            print(f"  file {number} in {(folder / FORMATS[name].name).parent}): {wrong}")
        wrongs += len(found)
    sys.exit(wrongs > 0)


if __name__ == "__main__":
    main()
