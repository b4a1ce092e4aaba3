"""Compilation and caching of kernels, with all compiler flags in one place.

Numba's cache keys a function on its own file only, and two processes that save two signatures of
one function at the same time can leave an index that points to the wrong code. Here the folder is
named by the content of every source file from which a kernel may be built, so that an edit in any
file invalidates it, and every signature has a separate index.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import llvmlite
import llvmlite.binding as llvm
import numba
from numba import types
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
)
from numba.core.ccallback import CFunc
from numba.extending import overload

from gatecheck._util.cache_dir import (
    DIGEST_BYTES,
    PACKAGE,
    cache_root,
    content_digest,
    package_sources,
    private_folder,
    source_digest,
)
from gatecheck.errors import GatecheckWarning

F = TypeVar("F", bound=Callable[..., Any])

# No fastmath. "contract" lets LLVM fuse either product of a*b + c*d, so that two kernels may round
# one equation differently, and bitwise equality of a GRU and an RNN would depend on the optimizer;
# "nsz" would lose tanh(-0) = -0.
FLAGS = {"error_model": "numpy"}


WARNED_VARIABLE = "GATECHECK_UNCACHED_SAID"
"""Environment variable, which processes inherit, that is set after the warning."""


def jit(function: F) -> F:
    """Compile `function` on its first call per dtype, and cache the machine code.

    The cache is in :func:`gatecheck._util.cache_dir.cache_root`; nothing is written to the
    package's folder.

    Warns
    -----
    GatecheckWarning
        If that folder cannot be written to, now or after a kernel was compiled: every process then
        compiles its own. Child processes do not repeat the warning.
    """
    dispatcher = numba.njit(nogil=True, **FLAGS)(function)
    _enable_cache(dispatcher, function)
    return dispatcher  # type: ignore[no-any-return]


def _enable_cache(compiled: Any, function: Callable[..., Any]) -> None:
    try:
        _create_folder(cache_folder(function))
    except OSError as error:
        _warn_uncached(str(error))
    else:
        compiled._cache = _Cache(function)  # as its enable_caching() does, with another cache


def has_empty_cache(compiled: Any) -> bool:
    """Return whether a kernel can be cached, and no machine code of it is yet."""
    cache = compiled._cache
    return isinstance(cache, _Cache) and not cache.has_machine_code()


class SharedFunction:
    """A function, compiled once per real dtype, that kernels call by name.

    Other functions are inlined, and LLVM optimizes them again in every kernel, which takes most of
    the compilation time.

    Parameters
    ----------
    function
        Function with the arguments of `signature`; arrays are pointers to their first entries.
    signature
        Function from a real Numba type to the signature.
    """

    _instances: ClassVar[list[SharedFunction]] = []

    def __init__(self, function: Callable[..., Any], signature: Callable[[Any], Any]) -> None:
        self._function, self._signature = function, signature
        self._compiled: dict[str, CFunc] = {}
        self._instances.append(self)

    def compile_for(self, real: Any) -> types.ExternalFunction:
        """Compile for a real type, and return the function that kernels call."""
        signature, name = self._signature(real), f"gatecheck_{self._function.__name__}_{real}"
        if name not in self._compiled:
            compiled = CFunc(self._function, (signature.args, signature.return_type), {}, FLAGS)
            _enable_cache(compiled, self._function)
            compiled.compile()
            llvm.add_symbol(name, compiled.address)
            self._compiled[name] = compiled
        return types.ExternalFunction(name, signature)

    @classmethod
    def compile_for_arguments(cls, arguments: Iterable[Any]) -> None:
        """Compile every block that machine code for arguments of these types may call."""
        for real in {
            a.dtype
            for a in arguments
            if isinstance(a, types.Array) and isinstance(a.dtype, types.Float)
        }:
            for block in cls._instances:
                block.compile_for(real)


def shared_function(
    signature: Callable[[Any], Any],
) -> Callable[[Callable[..., Any]], SharedFunction]:
    """Return a decorator that makes a :class:`SharedFunction` of a function."""
    return lambda function: SharedFunction(function, signature)


def overload_by_dtype(function: F) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator for an overload of `function`.

    The decorated function takes Numba types, and returns the implementation that kernels compile in
    place of `function` for these types.
    """
    return overload(function, jit_options=FLAGS, strict=False)  # type: ignore[no-any-return]


def cache_folder(function: Callable[..., Any]) -> Path:
    """Return the folder of the machine code of `function`.

    Its name depends on the content of all Python files of ``gatecheck/kernels`` and of the package
    of `function`: its subpackage of gatecheck as a whole, else its own folder alone.
    """
    file = Path(function.__code__.co_filename)
    inside = file.is_relative_to(PACKAGE) and len(file.relative_to(PACKAGE).parts) > 1
    own = (
        [PACKAGE / file.relative_to(PACKAGE).parts[0]]
        if inside
        else sorted(file.parent.glob("*.py"))
    )
    paths = sorted({*own, *package_sources("kernels")})
    return cache_root() / f"gatecheck-{source_digest(*paths)}"


@functools.cache
def _create_folder(folder: Path) -> None:
    private_folder(folder)


def _warn_uncached(reason: str) -> None:
    if WARNED_VARIABLE in os.environ:
        return
    os.environ[WARNED_VARIABLE] = "1"
    message = (
        f"compiled kernels cannot be cached ({reason}), so each process compiles its own; "
        "set NUMBA_CACHE_DIR to a writable folder"
    )
    warnings.warn(message, GatecheckWarning, stacklevel=3)


def _settings() -> tuple[Any, ...]:
    """Return versions and settings, beside the processor, that decide the code."""
    names = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML", "DEBUGINFO_DEFAULT")
    values = (str(getattr(numba.config, name, None)) for name in (*names, "BOUNDSCHECK"))
    return numba.__version__, llvmlite.__version__, *values


class _Locator(_CacheLocator):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any], path: str) -> None:
        self._py_file = path
        self._line = function.__code__.co_firstlineno
        self._folder = cache_folder(function)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> _Locator:
        return cls(function, path)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [_Locator]  # noqa: RUF012


class _IndexFile(IndexDataCacheFile):  # type: ignore[misc]
    """Index and data files of a signature, each behind a digest of its content.

    Numba would load whatever it finds: one flipped bit is another number, or a crash.
    """

    def _load_index(self) -> Any:
        try:
            content = io.BytesIO(self._read(self._index_path))
            if pickle.load(content) != self._version:
                return {}
            stamp, overloads = pickle.load(content)
        except Exception:
            return {}
        return overloads if stamp == self._source_stamp else {}

    def _load_data(self, name: str) -> Any:
        return pickle.loads(self._read(self._data_path(name)))

    @staticmethod
    def _read(path: str) -> bytes:
        data = Path(path).read_bytes()
        digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        if digest != content_digest(content):
            raise ValueError(f"{path} is damaged")
        return content

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(content_digest(content.getvalue()) + content.getvalue())


class _Cache(FunctionCache):  # type: ignore[misc]
    _impl_class = _Implementation

    def load_overload(self, signature: Any, target: Any) -> Any:
        self._choose_file(signature, target.codegen())
        SharedFunction.compile_for_arguments(getattr(signature, "args", signature))
        try:
            return super().load_overload(signature, target)
        except Exception:
            # A damaged file, as after a power failure: it is compiled and written again.
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        self._choose_file(signature, data.codegen)
        try:
            super().save_overload(signature, data)
        except OSError as error:
            # The disk is full, or the folder was removed: the compiled kernel still runs.
            _warn_uncached(str(error))

    def has_machine_code(self) -> bool:
        """Return whether the cache has any machine code."""
        return any(Path(self._cache_path).glob(f"{self._impl.filename_base}-*"))

    def _choose_file(self, signature: Any, codegen: Any) -> None:
        content = signature, codegen.magic_tuple(), _settings()
        key = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
        self._cache_file = _IndexFile(
            self._cache_path,
            f"{self._impl.filename_base}-{key}",
            self._impl.locator.get_source_stamp(),
        )
