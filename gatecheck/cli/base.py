"""What every command shares: the group, errors in one line, a progress bar, and files."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import gatecheck
from gatecheck.errors import GatecheckError, MissingExtraError, TargetError, UsageError, WorkerLostError
from gatecheck.report.figures import FORMATS

HOLDS, FINDINGS, WRONG_CALL, CANNOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130

Tick = Callable[[int, int, str], None]


class _Commands(click.Group):
    """Turns our errors into one line and an exit status; anything else is a bug of ours and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (TargetError, MissingExtraError, WorkerLostError) as error:
            click.echo(f"gatecheck: {error}", err=True)
            ctx.exit(CANNOT_RUN)
        except GatecheckError as error:
            click.echo(f"gatecheck: {error}", err=True)
            ctx.exit(WRONG_CALL)
        except MemoryError:
            click.echo("gatecheck: there is not enough memory for these sizes", err=True)
            ctx.exit(WRONG_CALL)
        except KeyboardInterrupt:
            click.echo("gatecheck: interrupted; nothing more was written", err=True)
            ctx.exit(INTERRUPTED)


@click.group(
    cls=_Commands,
    epilog="""\b
Examples:
  gatecheck audit                       our cells and every framework installed
  gatecheck audit my_lstm.py:MyLSTM     an implementation of yours
  gatecheck vectors export my-vectors   cases for a cell that runs elsewhere
  gatecheck decay                       how fast gradients fade, by cell and initialisation""",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(gatecheck.__version__, "--version", prog_name="gatecheck")
def main() -> None:
    """Is this GRU or LSTM right, claim by claim? How far back does it learn?"""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that cannot show ± still shows the verdict


@contextmanager
def bar(label: str) -> Iterator[Tick]:
    """A progress bar on standard error that leaves nothing behind."""
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)

        def tick(done: int, total: int, now: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{label}  {now}"[:70])

        yield tick


def again(context: click.Context, *more: str) -> str:
    """The command that is running, as it can be typed once more, with `more` where it is not there already."""
    words = context.command_path.split()
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        for each in value if isinstance(value, tuple) else (value,):
            words += [] if isinstance(parameter, click.Argument) else [parameter.opts[0]]
            words += [] if getattr(parameter, "is_flag", False) else [str(each)]
    return shlex.join([*words, *(word for word in more if word not in words)])


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def as_json(data: Any) -> str:
    return json.dumps(data, indent=2, allow_nan=False)


def write_json(path: Path, data: Any) -> None:
    write(path, as_json(data))


def check_writable(file: Path | None, folder: str | None = None) -> None:
    """Before a long run rather than after it."""
    if file is not None and not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(
            f"{file} cannot be written: {'permission denied' if file.parent.is_dir() else f'there is no folder {file.parent}'}"
        )
    if folder is None:
        return
    existing = next(p for p in (Path(folder), *Path(folder).absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(
            f"counterexamples cannot be written into {folder}: {existing} is {'no folder' if existing.is_file() else 'read-only'}"
        )


def check_figure(path: Path | None) -> None:
    """Before a long run too: that a figure can be written, and of which format."""
    check_writable(path)
    if path and path.suffix.lower() not in FORMATS:
        raise UsageError(f"the figure {path} should end in .png, .svg or .pdf")


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {path} cannot be made: {error.strerror}") from error
