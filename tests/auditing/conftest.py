"""The examples in C, compiled; and the ports in this folder, which pytest does not import by
itself.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gatecheck.targets.adapters.library import get_include

EXAMPLES = Path(__file__).parents[1] / "examples"

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Compiles a file, or text, of C; without a compiler the test is skipped, which fails the run
    under GATECHECK_CI=1.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    folder, made = tmp_path_factory.mktemp("compiled"), {}

    def make(source, *options):
        if compiler is None:
            pytest.skip("there is no C compiler")
        key = (source, *options)
        if key not in made:
            if "\n" in source:
                file = folder / f"source{len(made)}.c"
                file.write_text(source)
            else:
                file = EXAMPLES / source
            made[key] = folder / f"made{len(made)}{'.so' if '-shared' in options else ''}"
            command = [
                compiler,
                "-std=c99",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-O2",
                f"-I{get_include()}",
                *options,
            ]
            done = subprocess.run(
                [*command, "-o", str(made[key]), str(file), "-lm"], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        return made[key]

    return make


@pytest.fixture(scope="session")
def library(compiled):
    """Compiles a shared library."""
    return lambda source, *options: compiled(source, "-shared", "-fPIC", *options)
