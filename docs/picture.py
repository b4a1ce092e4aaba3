"""The terminal picture in README.md, of a real run.

``python docs/picture.py`` writes docs/audit.svg.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH = 112
ONLY = ("forward_within_budget", "gates_in_unit_interval", "gradients_within_budget")
"""Three properties, of which one fails, so that the picture fits on a screen."""

WORDS = ["audit", "my_lstm.py:MyLSTM", *(word for name in ONLY for word in ("--only", name))]


def output() -> str:
    """Return the output of an audit of docs/my_lstm.py, with its colors.

    Raises
    ------
    RuntimeError
        If it does not end with findings and a diagnosis.
    """
    variables = {
        "COLUMNS": str(WIDTH),
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "PYTHONUTF8": "1",
    }
    command = [sys.executable, "-c", "from gatecheck.cli import main; main()", *WORDS]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / "my_lstm.py", folder)
        completed = subprocess.run(
            command, cwd=folder, env=os.environ | variables, capture_output=True, encoding="utf-8"
        )
    if completed.returncode != 1 or "diagnosis" not in completed.stdout:
        raise RuntimeError(
            f"gatecheck {' '.join(WORDS)} ended with status {completed.returncode}: "
            f"{completed.stdout}{completed.stderr}"
        )
    return completed.stdout


def picture(printed: str) -> str:
    """Return a terminal with the command and what it printed, as SVG."""
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text(f"$ gatecheck {' '.join(WORDS)}"))
    console.print(Text.from_ansi(printed.rstrip()))
    return console.export_svg(title="gatecheck", unique_id="audit")


if __name__ == "__main__":
    (HERE / "audit.svg").write_text(picture(output()), encoding="utf-8")
