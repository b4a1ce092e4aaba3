"""Shared parts of the commands: group, errors, progress bar and output files."""

from __future__ import annotations

import errno
import json
import math
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

import gatecheck
from gatecheck._util import typing
from gatecheck._util.atomic_write import check_writable, write_text
from gatecheck._util.processes import raise_on_signals, signal_name
from gatecheck._util.streams import discard_stdout, prepare_streams
from gatecheck.errors import (
    WITHOUT_DOCSTRINGS,
    GatecheckError,
    MissingExtraError,
    TargetError,
    UsageError,
    WorkerLostError,
    printable_data,
    route_warnings,
    shorten,
)
from gatecheck.report.terminal import Console

ALL_HOLD, FINDINGS, USAGE_ERROR, CANNOT_RUN = 0, 1, 2, 3

DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

SYSTEM_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.EACCES, errno.EPERM)
"""Errors of a system that lacks what a command needs, or does not permit it."""

NARROWEST = 20
"""Smallest width that ``COLUMNS`` may ask for; nothing can be read in fewer."""


class Command(click.Command):
    """Command that rejects empty arguments, such as an unset shell variable."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments and return the rest.

        Raises
        ------
        UsageError
            If a given argument is empty.
        """
        remaining = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            is_given = ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
            if is_given and (value == "" or (isinstance(value, tuple) and "" in value)):
                raise click.BadParameter("it is empty", ctx=ctx, param=parameter)
        return remaining


class _CommandGroup(click.Group):
    """Group of commands that report an error in one line."""

    command_class = Command
    group_class = type

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        prepare_streams()
        with _report_errors(None):
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _report_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def _report_errors(context: click.Context | None) -> Iterator[None]:
    """Turn our errors into one line and an exit status.

    Any other exception is a bug in gatecheck and keeps its traceback.
    """
    try:
        yield
    except (TargetError, MissingExtraError, WorkerLostError) as error:
        message, status = str(error), CANNOT_RUN
    except GatecheckError as error:
        message, status = str(error), USAGE_ERROR
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        where = error.ctx or context
        help_ = f"; see {where.command_path} --help" if where else ""
        message, status = error.format_message().rstrip(".") + help_, USAGE_ERROR
    except ImportError as error:
        message, status = f"a package cannot be imported: {error}", CANNOT_RUN
    except OSError as error:
        message, status = _describe_system_error(error)
    except MemoryError:
        message, status = "there is not enough memory for these sizes", USAGE_ERROR
    except KeyboardInterrupt as interruption:
        how, status = interruption_status(interruption)
        message = f"{how}; nothing more was written"
    else:
        return
    say(message)
    raise click.exceptions.Exit(status)


def _describe_system_error(error: OSError) -> tuple[str, int]:
    """Return message and exit status of an error of the system; raise any other."""
    if error.errno in DISK_ERRNOS:
        discard_stdout()
        place = error.filename or "the output"
        return f"{place} cannot be written: {error.strerror}", USAGE_ERROR
    # tempfile finds no folder, or the system no room or permission.
    if error.errno in SYSTEM_ERRNOS or (error.errno == errno.ENOENT and error.filename is None):
        place = f"{error.filename}: " if error.filename else ""
        return f"the system does not let it run: {place}{error.strerror}", CANNOT_RUN
    raise error


def interruption_status(interruption: KeyboardInterrupt) -> tuple[str, int]:
    """Return how a command was interrupted, in words, and its exit status."""
    number = getattr(interruption, "number", signal.SIGINT)
    how = "interrupted" if number == signal.SIGINT else f"interrupted by {signal_name(number)}"
    return how, 128 + number


def say(message: str) -> None:
    """Print a message in one line on standard error."""
    message = " ".join(message.split())
    click.echo(f"gatecheck: {shorten(message)}", err=True)


class SecondsType(click.ParamType):  # type: ignore[type-arg]  # a generic from click 8.4 on
    """Time limit in seconds."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, above zero and at most a million (eleven days)."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number <= 1e6:
            self.fail(
                f"{value!r} is not a number of seconds above 0, and at most a million", param, ctx
            )
        return number


class OutputFile(click.ParamType):  # type: ignore[type-arg]  # as above
    """Output file, checked to be writable before the work starts.

    Parameters
    ----------
    extensions
        Allowed file name extensions; none given allows any.
    """

    name = "file"

    def __init__(self, *extensions: str) -> None:
        self.extensions = extensions

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path.

        Raises
        ------
        OutputError
            If it cannot be written.
        UsageError
            If its extension is not allowed.
        """
        path = Path(value)
        if self.extensions and path.suffix.lower() not in self.extensions:
            raise UsageError(f"{path} should end in {', '.join(self.extensions)}")
        check_writable(path)
        return path


@click.group(
    cls=_CommandGroup,
    epilog="""\b
Examples:
  gatecheck audit                       the built-in cells and installed frameworks
  gatecheck audit my_lstm.py:MyLSTM     your own implementation
  gatecheck vectors export my-vectors   cases for a cell that Python cannot call
  gatecheck decay                       how fast gradients fade, by cell and initialization""",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(gatecheck.__version__, "--version", prog_name="gatecheck")
def main() -> None:
    """Verify GRU and LSTM implementations and measure how far back they learn."""
    raise_on_signals()
    if sys.flags.optimize > 1:
        raise UsageError(WITHOUT_DOCSTRINGS)
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) < NARROWEST:
        del os.environ["COLUMNS"]
    route_warnings(say)


@contextmanager
def progress_bar(label: str) -> Iterator[typing.Progress]:
    """Show a transient progress bar on standard error."""
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
    ]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(label, total=None)

        def tick(done: int, total: int, now: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{label}  {now}"[:70])

        yield tick


def command_line(context: click.Context, *extra_words: str) -> str:
    """Return the running command line, with the words `extra_words` added if absent."""
    words = context.command_path.split()
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        for each in value if isinstance(value, tuple) else (value,):
            words += [] if isinstance(parameter, click.Argument) else [parameter.opts[0]]
            words += [] if getattr(parameter, "is_flag", False) else [str(each)]
    return shlex.join([*words, *(word for word in extra_words if word not in words)])


def as_json(data: Any) -> str:
    """Return indented JSON."""
    return json.dumps(printable_data(data), indent=2, allow_nan=False)


def write_json(path: Path, data: Any) -> None:
    """Write indented JSON."""
    write_text(path, as_json(data) + "\n")
