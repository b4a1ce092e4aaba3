"""Scopes: the terms that an equation can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatecheck._util.typing import Array


class Scope:
    """The terms of one step by name.

    They include the parameter blocks, `t`, `T`, and the neighbors `before` and `after`. A term is
    an attribute (``s.c_prev``) or, if its name is computed, an item (``s["W_i"]``).
    """

    def __init__(self, **names: Any) -> None:
        self.__dict__ = names

    # The attributes are the terms that the equations have computed so far.
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no term {name!r} here yet; there are {', '.join(self.__dict__)}")

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def reading(self, **instead: Any) -> Any:
        """Return the scope with other values for some names."""
        return type(self)(**self.__dict__ | instead)


def stack_terms(terms: Sequence[Array], axis: int = 0) -> Array:
    """Stack a term over all steps; a later step may be the first with replicates."""
    same = len({term.shape for term in terms}) == 1
    return np.stack(terms if same else np.broadcast_arrays(*terms, subok=True), axis)


class Whole(Scope):
    """A scope over the whole sequence, in which a term is stacked over time."""

    steps: Sequence[Scope]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self.__dict__[name] = stack_terms([s[name] for s in self.steps])
        return value

    @property
    def first(self) -> Scope:
        """The scope of the first step."""
        return self.steps[0]
