"""Fixtures that compile C."""

import subprocess

import pytest

from gatecheck.targets.adapters.library import get_include
from helpers.paths import EXAMPLES


@pytest.fixture(scope="session")
def compiled(tmp_path_factory, find_program):
    """Compile a file, or text, of C; skip the test on a machine without a compiler."""
    folder, outputs = tmp_path_factory.mktemp("compiled"), {}

    def compile_once(source, *options):
        compiler = find_program("a C compiler")
        key = (source, *options)
        if key not in outputs:
            if "\n" in source:
                file = folder / f"source{len(outputs)}.c"
                file.write_text(source)
            else:
                file = EXAMPLES / source
            suffix = ".so" if "-shared" in options else ""
            outputs[key] = folder / f"made{len(outputs)}{suffix}"
            flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", f"-I{get_include()}"]
            command = [compiler, *flags, *options, "-o", str(outputs[key]), str(file), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        return outputs[key]

    return compile_once


@pytest.fixture(scope="session")
def library(compiled):
    """Compile a shared library."""
    return lambda source, *options: compiled(source, "-shared", "-fPIC", *options)
