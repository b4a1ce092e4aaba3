"""What an equation can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatecheck._util.typing import Array


class Scope:
    """The terms of one step by name, the parameter blocks, `t`, `T`, and the neighbours `before`
    and `after`.

    A term is an attribute (``s.c_prev``) or, where its name is made, an item (``s["W_i"]``).
    """

    def __init__(self, **names: Any) -> None:
        self.__dict__ = names

    # The attributes are whatever the equations have computed so far.
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no term {name!r} here yet; there are {', '.join(self.__dict__)}")

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def reading(self, **instead: Any) -> Any:
        """The same scope with some names read as something else."""
        return type(self)(**self.__dict__ | instead)


def stacked(terms: Sequence[Array], axis: int = 0) -> Array:
    """A term of all steps in one array; it may have gained its replicate axis only at a later one."""
    same = len({term.shape for term in terms}) == 1
    return np.stack(terms if same else np.broadcast_arrays(*terms, subok=True), axis)


class Whole(Scope):
    """A scope over the whole sequence: a step's term reads as the stack of it over time."""

    steps: Sequence[Scope]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self.__dict__[name] = stacked([s[name] for s in self.steps])
        return value

    @property
    def first(self) -> Scope:
        """The first step."""
        return self.steps[0]
