"""From the name of a target to an implementation."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatecheck._util.import_path import path_with
from gatecheck.cells import CELLS, as_cell
from gatecheck.errors import MissingExtraError, TargetError, UsageError
from gatecheck.implementation import Subject, subject
from gatecheck.implementation.custom import CustomSubject, custom_subject, is_custom
from gatecheck.kernels import Builtin
from gatecheck.targets.adapters import library, program

ADAPTERS = {
    "torch.nn": "gatecheck.targets.adapters.torch",
    "keras.layers": "gatecheck.targets.adapters.keras",
    "flax.linen": "gatecheck.targets.adapters.flax",
    "flax.nnx": "gatecheck.targets.adapters.flax_nnx",
    "equinox.nn": "gatecheck.targets.adapters.equinox",
    "haiku": "gatecheck.targets.adapters.haiku",
    "onnxruntime": "gatecheck.targets.adapters.onnx.runtime",
    "onnx.reference": "gatecheck.targets.adapters.onnx.reference",
}
"""Modules whose classes are not implementations themselves, and the adapter that makes one of them.
"""

PROGRAM = "exec:"
LIBRARY = re.compile(r"\.(dll|dylib|so(\.\d+)*)$", re.IGNORECASE)
"""How the path of a shared library ends, perhaps with its version."""

FORMS = (
    f"builtin:CELL, {', '.join(f'{module}:CLASS' for module in ADAPTERS)}, each perhaps as CLASS(OPTION=VALUE), "
    'package.module:OBJECT, path/to/file.py:OBJECT, path/to/model.onnx:NODE, path/to/library.so:FUNCTION or "exec:PROGRAM ARGUMENT ..."'
)


def load(
    target: str,
    *,
    cell: str | None = None,
    convention: str | None = None,
    device: str | None = None,
) -> Subject | CustomSubject:
    """The implementation that a command names.

    Parameters
    ----------
    target
        ``builtin:gru``, ``torch.nn:LSTM``, ``torch.nn:LSTM(bias=False)``,
        ``package.module:object``, ``path/to/file.py:object``, ``path/to/model.onnx:node``, which is
        ``onnxruntime:path/to/model.onnx:node``, ``path/to/library.so:function`` (see
        :mod:`gatecheck.targets.adapters.library`) or ``exec:./program argument``
        (:mod:`gatecheck.targets.adapters.program`).
    cell, convention
        Instead of what it declares.
    device
        Where PyTorch computes, such as ``"cuda"``; by default on the CPU.

    Raises
    ------
    UsageError
        If the name has none of these forms, or what it names has no choice of devices.
    TargetError
        If the target cannot be found, imported or started, or is not an implementation; if there is
        no such device here.
    """
    found = _found(target, cell, convention, device)
    if device is not None and getattr(found.target, "device", None) != device:
        raise UsageError(
            f"{target} has no choice of devices; --device {device} does not apply to it"
        )
    return found


def _found(
    target: str, cell: str | None, convention: str | None, device: str | None
) -> Subject | CustomSubject:
    if target.startswith(PROGRAM):
        return subject(program.adapt(_words(target), target, cell, convention), name=target)
    module, separator, name = target.partition(":")
    if module not in ADAPTERS and (target.endswith(".onnx") or ".onnx:" in target):
        module, separator, name = "onnxruntime", ":", target
    elif module not in ADAPTERS:
        module, separator, name = target.rpartition(":")
    if not separator or not module or not name:
        raise UsageError(f"the target {target!r} should be written {FORMS}")
    if module == "builtin":
        built = Builtin(as_cell(name))
        if convention is not None or (cell is not None and as_cell(cell) != built.cell):
            asked = " ".join(
                filter(
                    None, [cell and f"--cell {cell}", convention and f"--convention {convention}"]
                )
            )
            raise UsageError(
                f"{target} is a {built.cell} in canonical arrays; {asked} does not apply to it"
            )
        return subject(built, name=target)
    if module in ADAPTERS:
        if convention is not None:
            raise UsageError(
                f"{target} has its own convention; --convention {convention} does not apply to it"
            )
        adapt = importlib.import_module(ADAPTERS[module]).adapt
        name, options = _options(name, target)
        known = {
            k: p.default
            for k, p in inspect.signature(adapt).parameters.items()
            if p.kind is p.KEYWORD_ONLY
        }
        moved = {"device": device or known.pop("device")} if "device" in known else {}
        for option, value in options.items():
            if type(value) is not type(known.get(option)):
                may = " and ".join(f"{k}={usual}" for k, usual in known.items())
                there_is = f"; there is, by default, {may}" if may else ""
                raise UsageError(
                    f"{target}: {option}={value!r} is no option of {module} here{there_is}"
                )
        made = adapt(name, cell, **options, **moved)
        return subject(made, name=target)
    if LIBRARY.search(module):
        return subject(library.adapt(module, name, cell, convention), name=target)
    found = _attribute(
        _from_file(Path(module)) if module.endswith(".py") else _from_module(module), name, target
    )
    if is_custom(found, cell):
        return custom_subject(found, target)
    if _is_module(found):
        found = importlib.import_module("gatecheck.targets.adapters.torch_module").adapt(
            found, cell, convention, device
        )
    return subject(found, cell=cell, convention=convention, name=target)


def file_of(target: str) -> Path | None:
    """The file that a target is in, where its name says so, as in ``path/to/file.py:object`` or
    ``model.onnx:node``.
    """
    if target.startswith(PROGRAM):
        return None
    module = (
        target.removeprefix("onnxruntime:").removeprefix("onnx.reference:")
        if ".onnx" in target
        else target
    )
    path = module if module.endswith(".onnx") else module.rpartition(":")[0]
    return Path(path) if path.endswith((".py", ".onnx")) or LIBRARY.search(path) else None


def placed(target: str, folder: Path) -> str:
    """The same target where a file in its name is meant to be in a folder."""
    file = file_of(target)
    return target if file is None else target.replace(str(file), str(folder / file), 1)


def installed() -> list[tuple[str, str | None]]:
    """Every target that can be audited here, with its cell where the target leaves it open: our
    cells, then the frameworks installed.
    """
    found: list[tuple[str, str | None]] = [(f"builtin:{name}", None) for name in CELLS]
    for module, adapter in ADAPTERS.items():
        if importlib.util.find_spec(module.partition(".")[0]):
            # a framework may lack what it runs on, as Keras without a backend
            with suppress(MissingExtraError):
                found += [
                    (f"{module}:{name}", cell)
                    for name, cell in importlib.import_module(adapter).TARGETS
                ]
    return found


def _is_module(found: Any) -> bool:
    """Whether it is a class of PyTorch's modules; whoever made one has imported PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(found, type) and issubclass(found, torch.nn.Module)


def _words(target: str) -> list[str]:
    try:
        words = shlex.split(target.removeprefix(PROGRAM))
    except ValueError as error:
        raise UsageError(f"the target {target!r} cannot be read as a command: {error}") from error
    if not words:
        raise UsageError(f"the target {target!r} should be written {FORMS}")
    return words


def _options(name: str, target: str) -> tuple[str, dict[str, Any]]:
    """A name and what stands in brackets behind it, as in ``GRU(bias=False)``."""
    if "(" not in name:
        return name, {}
    try:
        call = ast.parse(name, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        return call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise UsageError(
            f"the target {target!r} should be written MODULE:CLASS or MODULE:CLASS(OPTION=VALUE, ...)"
        ) from error


def _attribute(module: Any, name: str, target: str) -> Any:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise TargetError(f"{target}: there is no {name} there")
        found = getattr(found, part)
    return found


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise TargetError(f"there is no file {path}")

    def run() -> Any:
        # no file of a user's replaces a module of the same name
        name = f"gatecheck_target_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise TargetError(f"{path} cannot be imported as Python")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickles of the target look themselves up there
        spec.loader.exec_module(module)
        return module

    return _importing(run, str(path), path.resolve().parent)


def _from_module(name: str) -> Any:
    return _importing(lambda: importlib.import_module(name), name, Path.cwd())


def _importing(run: Callable[[], Any], what: str, folder: Path) -> Any:
    before = sys.path[:]
    sys.path[:] = path_with(folder)
    try:
        return run()
    except TargetError:
        raise
    except (Exception, SystemExit) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        raise TargetError(
            f"importing {what} raised {type(error).__name__}: {error}{line}"
        ) from error
    finally:
        sys.path[:] = before
