"""What an equation can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Scope:
    """The terms of one step by name, the parameter blocks, `t`, `T`, and the neighbours `before` and `after`.

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


class Whole(Scope):
    """A scope over the whole sequence: a step's term reads as the stack of it over time."""

    steps: Sequence[Scope]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # A term may gain its replicate axis only at a later step.
        value = self.__dict__[name] = np.stack(np.broadcast_arrays(*(s[name] for s in self.steps), subok=True))
        return value

    @property
    def first(self) -> Scope:
        """The first step."""
        return self.steps[0]
