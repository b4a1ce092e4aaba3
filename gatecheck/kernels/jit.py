"""How kernels are compiled: one decorator that holds every flag, blocks that all share, and a cache
that notices an edit in any file.

Numba's own cache keys a function on its own file only, and two processes that save two signatures
of one function at the same time can leave an index that points at the wrong code. Here the folder
is named by the content of every source file that a kernel may be built from, and every signature
has an index of its own.
"""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

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

from gatecheck._util.cache_dir import PACKAGE, cache_root, package_sources, source_digest
from gatecheck.errors import GatecheckWarning

F = TypeVar("F", bound=Callable[..., Any])

# No fastmath. "contract" lets LLVM fuse a*b + c*d either way round, so that two kernels need not
# round one equation alike, and the claims "bit for bit" between a GRU and an RNN would hang on the
# optimiser; "nsz" would lose tanh(-0) = -0.
FLAGS = {"error_model": "numpy"}


SAID = "GATECHECK_UNCACHED_SAID"
"""A variable of the environment, so that processes inherit it: set once it was said that kernels
cannot be kept.
"""


def jit(function: F) -> F:
    """Compile `function` when it is first called with some dtypes, and keep the machine code in the
    user's cache folder.

    The folder is in :func:`gatecheck._util.cache_dir.cache_root`; that of the package is not written to.

    Warns
    -----
    GatecheckWarning
        If that folder cannot be written to, now or when a kernel was compiled: every process then
        compiles anew. The processes that this one starts do not say it again.
    """
    dispatcher = numba.njit(nogil=True, **FLAGS)(function)
    _keep(dispatcher, function)
    return dispatcher  # type: ignore[no-any-return]


def _keep(compiled: Any, function: Callable[..., Any]) -> None:
    try:
        _prepare(cache_folder(function))
    except OSError as error:
        _warn_uncached(str(error))
    else:
        compiled._cache = _Cache(function)  # what its enable_caching() does, with another cache


def to_be_kept(compiled: Any) -> bool:
    """Whether the machine code of a kernel can be kept, and none of it is so far, for whatever
    dtypes.
    """
    cache = compiled._cache
    return isinstance(cache, _Cache) and not cache.kept()


class Block:
    """A function that is compiled once for each real dtype, and that every kernel calls by a name.

    What kernels call otherwise is inlined, and LLVM optimises it anew in each of them, which takes
    most of the time that compiling takes.

    Parameters
    ----------
    function
        Its arguments are what `signature` says; arrays are pointers to their first entries.
    signature
        By a real type of Numba.
    """

    _all: ClassVar[list[Block]] = []

    def __init__(self, function: Callable[..., Any], signature: Callable[[Any], Any]) -> None:
        self._function, self._signature = function, signature
        self._compiled: dict[str, CFunc] = {}
        self._all.append(self)

    def of(self, real: Any) -> types.ExternalFunction:
        """What kernels of that type call, ready to be called."""
        signature, name = self._signature(real), f"gatecheck_{self._function.__name__}_{real}"
        if name not in self._compiled:
            compiled = CFunc(self._function, (signature.args, signature.return_type), {}, FLAGS)
            _keep(compiled, self._function)
            compiled.compile()
            llvm.add_symbol(name, compiled.address)
            self._compiled[name] = compiled
        return types.ExternalFunction(name, signature)

    @classmethod
    def resolve(cls, arguments: Iterable[Any]) -> None:
        """Make ready all that machine code for arguments of these types may call."""
        for real in {
            a.dtype
            for a in arguments
            if isinstance(a, types.Array) and isinstance(a.dtype, types.Float)
        }:
            for block in cls._all:
                block.of(real)


def block(signature: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Block]:
    """Decorator for the function of a :class:`Block`."""
    return lambda function: Block(function, signature)


def by_dtype(function: F) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator for a function of Numba types that returns what kernels compile in place of
    `function` for these types.
    """
    return overload(function, jit_options=FLAGS, strict=False)  # type: ignore[no-any-return]


def cache_folder(function: Callable[..., Any]) -> Path:
    """Return the folder in which the machine code of `function` is kept.

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
def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written to")


def _warn_uncached(reason: str) -> None:
    if SAID in os.environ:
        return
    os.environ[SAID] = "1"
    message = f"compiled kernels cannot be kept ({reason}), so each process compiles its own; set NUMBA_CACHE_DIR to a writable folder"
    warnings.warn(message, GatecheckWarning, stacklevel=3)


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


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except Exception:
            return {}


class _Cache(FunctionCache):  # type: ignore[misc]
    _impl_class = _Implementation

    def load_overload(self, signature: Any, target: Any) -> Any:
        self._choose_file(signature, target.codegen())
        Block.resolve(getattr(signature, "args", signature))
        try:
            return super().load_overload(signature, target)
        except (
            Exception
        ):  # a file that a power cut left empty or torn: compiled anew, it is written over
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        self._choose_file(signature, data.codegen)
        try:
            super().save_overload(signature, data)
        except OSError as error:  # the disk is full, or the folder was taken away: what was compiled runs all the same
            _warn_uncached(str(error))

    def kept(self) -> bool:
        """Whether there is anything."""
        return any(Path(self._cache_path).glob(f"{self._impl.filename_base}-*"))

    def _choose_file(self, signature: Any, codegen: Any) -> None:
        key = hashlib.sha256(repr((signature, codegen.magic_tuple())).encode()).hexdigest()[:16]
        self._cache_file = _Files(
            self._cache_path,
            f"{self._impl.filename_base}-{key}",
            self._impl.locator.get_source_stamp(),
        )
