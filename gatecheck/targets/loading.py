"""Loading of implementations by the names of targets."""

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
from typing import Any, NamedTuple

from gatecheck._util.import_path import path_with
from gatecheck.cells import CELLS, as_cell
from gatecheck.errors import MissingExtraError, TargetError, UsageError
from gatecheck.implementation import Subject, any_subject
from gatecheck.implementation.custom import CustomSubject
from gatecheck.implementation.custom_case import CUSTOM
from gatecheck.implementation.declarations import make_instance
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
"""Adapters by the module whose classes they turn into implementations."""

PROGRAM_PREFIX = "exec:"
LIBRARY_SUFFIX = re.compile(r"\.(dll|dylib|so(\.\d+)*)$", re.IGNORECASE)
"""Suffix of a shared library, perhaps with its version."""

TARGET_FORMS = (
    f"builtin:CELL, {', '.join(f'{module}:CLASS' for module in ADAPTERS)}, each perhaps as "
    "CLASS(OPTION=VALUE), "
    "package.module:OBJECT, path/to/file.py:OBJECT, path/to/model.onnx:NODE, "
    'path/to/library.so:FUNCTION or "exec:PROGRAM ARGUMENT ..."'
)


class Loaded(NamedTuple):
    """An implementation, with the declarations that a command replaces.

    Attributes
    ----------
    implementation
        The object.
    cell, convention
        Replacements for what it declares; None where it declares what was asked for.
    """

    implementation: Any
    cell: str | None = None
    convention: str | None = None


def load(
    target: str,
    *,
    cell: str | None = None,
    convention: str | None = None,
    device: str | None = None,
) -> Subject | CustomSubject:
    """Return the implementation that a command names, in this process.

    Parameters
    ----------
    target, cell, convention, device
        See :func:`load_implementation`, also for the errors.
    """
    loaded = load_implementation(target, cell=cell, convention=convention, device=device)
    return any_subject(
        loaded.implementation, cell=loaded.cell, convention=loaded.convention, name=target
    )


def load_implementation(
    target: str,
    *,
    cell: str | None = None,
    convention: str | None = None,
    device: str | None = None,
) -> Loaded:
    """Return the implementation that a command names.

    Parameters
    ----------
    target
        ``builtin:gru``, ``torch.nn:LSTM``, ``torch.nn:LSTM(bias=False)``,
        ``package.module:object``, ``path/to/file.py:object``, ``path/to/model.onnx:node``, which is
        ``onnxruntime:path/to/model.onnx:node``, ``path/to/library.so:function`` (see
        :mod:`gatecheck.targets.adapters.library`) or ``exec:./program argument``
        (:mod:`gatecheck.targets.adapters.program`).
    cell, convention
        Override what it declares.
    device
        Device on which PyTorch computes, such as ``"cuda"``; by default the CPU.

    Raises
    ------
    UsageError
        If the name has none of these forms, or the target has no choice of devices.
    TargetError
        If the target cannot be found, imported or started, or is not an implementation; if there is
        no such device here.
    """
    loaded = _load(target, cell, convention, device)
    loaded = loaded._replace(implementation=make_instance(loaded.implementation))
    if device is not None and getattr(loaded.implementation, "device", None) != device:
        raise UsageError(
            f"{target} has no choice of devices; --device {device} does not apply to it"
        )
    return loaded


def _load(target: str, cell: str | None, convention: str | None, device: str | None) -> Loaded:
    if target.startswith(PROGRAM_PREFIX):
        return Loaded(program.adapt(_split_command(target), target, cell, convention))
    module, separator, name = target.partition(":")
    if module not in ADAPTERS and (target.endswith(".onnx") or ".onnx:" in target):
        module, separator, name = "onnxruntime", ":", target
    elif module not in ADAPTERS:
        module, separator, name = target.rpartition(":")
    if not separator or not module or not name:
        raise UsageError(f"the target {target!r} should be written {TARGET_FORMS}")
    if module == "builtin":
        # Imports Numba, which a target's own process does not need.
        from gatecheck.kernels import Builtin

        built = Builtin(as_cell(name))
        if convention is not None or (cell is not None and as_cell(cell) != built.cell):
            overrides = " ".join(
                filter(
                    None, [cell and f"--cell {cell}", convention and f"--convention {convention}"]
                )
            )
            raise UsageError(
                f"{target} is a {built.cell} in canonical arrays; {overrides} does not apply to it"
            )
        return Loaded(built)
    if module in ADAPTERS:
        if convention is not None:
            raise UsageError(
                f"{target} has its own convention; --convention {convention} does not apply to it"
            )
        adapt = importlib.import_module(ADAPTERS[module]).adapt
        name, options = _split_options(name, target)
        option_defaults = {
            k: p.default
            for k, p in inspect.signature(adapt).parameters.items()
            if p.kind is p.KEYWORD_ONLY
        }
        placement = (
            {"device": device or option_defaults.pop("device")}
            if "device" in option_defaults
            else {}
        )
        for option, value in options.items():
            if type(value) is not type(option_defaults.get(option)):
                defaults = " and ".join(f"{k}={usual}" for k, usual in option_defaults.items())
                listed = f"; the options are, by default, {defaults}" if defaults else ""
                raise UsageError(
                    f"{target}: {option}={value!r} is not an option of {module} here{listed}"
                )
        return Loaded(adapt(name, cell, **options, **placement))
    if LIBRARY_SUFFIX.search(module):
        return Loaded(library.adapt(module, name, cell, convention))
    loaded = _get_attribute(
        _load_file(Path(module)) if module.endswith(".py") else _load_module(module), name, target
    )
    is_custom = (getattr(loaded, "cell", None) if cell is None else cell) == CUSTOM.name
    if _is_torch_module(loaded) and not is_custom:
        adapter = importlib.import_module("gatecheck.targets.adapters.torch_module")
        return Loaded(adapter.adapt(loaded, cell, convention, device))
    return Loaded(loaded, cell, convention)


def is_builtin(target: str) -> bool:
    """Return whether a name is of one of our cells, which need no separate process."""
    return target.startswith("builtin:")


def target_file(target: str) -> Path | None:
    """Return the file that a target's name contains, if any.

    Examples are ``path/to/file.py:object`` and ``model.onnx:node``.
    """
    if target.startswith(PROGRAM_PREFIX):
        return None
    module = (
        target.removeprefix("onnxruntime:").removeprefix("onnx.reference:")
        if ".onnx" in target
        else target
    )
    path = module if module.endswith(".onnx") else module.rpartition(":")[0]
    return Path(path) if path.endswith((".py", ".onnx")) or LIBRARY_SUFFIX.search(path) else None


def resolve_in_folder(target: str, folder: Path) -> str:
    """Return the target with a file in its name taken relative to a folder."""
    file = target_file(target)
    return target if file is None else target.replace(str(file), str(folder / file), 1)


def installed_targets() -> list[tuple[str, str | None]]:
    """Return all targets available here: our cells, then installed frameworks.

    Each comes with its cell where its name leaves that open.
    """
    targets: list[tuple[str, str | None]] = [(f"builtin:{name}", None) for name in CELLS]
    for module, adapter in ADAPTERS.items():
        if importlib.util.find_spec(module.partition(".")[0]):
            # A framework may lack a dependency, such as Keras without a backend.
            with suppress(MissingExtraError):
                targets += [
                    (f"{module}:{name}", cell)
                    for name, cell in importlib.import_module(adapter).TARGETS
                ]
    return targets


def _is_torch_module(value: Any) -> bool:
    """Return whether an object is a class of PyTorch modules.

    Whoever made one has imported PyTorch.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, type) and issubclass(value, torch.nn.Module)


def _split_command(target: str) -> list[str]:
    try:
        words = shlex.split(target.removeprefix(PROGRAM_PREFIX))
    except ValueError as error:
        raise UsageError(f"the target {target!r} cannot be read as a command: {error}") from error
    if not words:
        raise UsageError(f"the target {target!r} should be written {TARGET_FORMS}")
    return words


def _split_options(name: str, target: str) -> tuple[str, dict[str, Any]]:
    """Return a name and its options, as in ``GRU(bias=False)``."""
    if "(" not in name:
        return name, {}
    try:
        call = ast.parse(name, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        return call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise UsageError(
            f"the target {target!r} should be written MODULE:CLASS or MODULE:CLASS(OPTION=VALUE, "
            "...)"
        ) from error


def _get_attribute(module: Any, name: str, target: str) -> Any:
    value = module
    for part in name.split("."):
        if not hasattr(value, part):
            raise TargetError(f"{target}: there is no {name} there")
        value = getattr(value, part)
    return value


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise TargetError(f"there is no file {path}")

    def run() -> Any:
        # A user's file must not replace a module of the same name.
        name = f"gatecheck_target_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise TargetError(f"{path} cannot be imported as Python")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickles look up their own module
        spec.loader.exec_module(module)
        return module

    return _import_from(run, str(path), path.resolve().parent)


def _load_module(name: str) -> Any:
    return _import_from(lambda: importlib.import_module(name), name, Path.cwd())


def _import_from(run: Callable[[], Any], what: str, folder: Path) -> Any:
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
