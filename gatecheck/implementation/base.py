"""Common base of the subjects of known and of custom cells."""

# Annotations are evaluated here, where their names are known: subclasses inherit the fields.
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatecheck._util.typing import Array
from gatecheck.implementation.session import Answer, Call, Session

Results = dict[str, Array]


@dataclass(frozen=True, eq=False, kw_only=True)
class BaseSubject(ABC):
    """A target made callable.

    Attributes
    ----------
    session
        Calls the target.
    name
        Name for reports.
    dtypes, expected_failures, packages, notes, activations, activation_ulps
        Declarations of the target; see :class:`gatecheck.implementation.protocol.Implementation`.
        Of the activations these are the names.
    abilities
        Those of :data:`gatecheck.implementation.protocol.ABILITIES` that it has.
    """

    session: Session
    name: str
    dtypes: tuple[str, ...]
    abilities: frozenset[str]
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    activations: Any = None
    activation_ulps: Any = None

    @abstractmethod
    def call_for(
        self, method: str, case: Any, direction: Any = None, *, strided: bool = False
    ) -> Call:
        """Return the call of a method on a case; a tangent has a direction."""

    @abstractmethod
    def read(self, method: str, case: Any, answer: Answer) -> Results:
        """Return the results of a call on a case from its answer.

        Raises
        ------
        TargetCrashError
            If the target raised an exception.
        ContractError
            If it returned something that the protocol does not allow.
        """

    @abstractmethod
    def share(self, case: Any) -> None:
        """Call the target once for this case, where many properties may share the results."""

    def watch(self, method: str, cases: Sequence[Any]) -> list[Answer]:
        """Return the answers to calls on some cases, with what they changed and share."""
        return self.session.run([self.call_for(method, case) for case in cases], watch=True)

    def forward(self, case: Any, *, strided: bool = False) -> Results:
        """Return the outputs for a case; for the errors see :meth:`read`.

        With `strided` the arrays that the target gets are not contiguous.
        """
        return self._results("forward", case, strided=strided)

    def backward(self, case: Any, *, strided: bool = False) -> Results:
        """Return the gradients for a case; for the errors see :meth:`read`."""
        return self._results("backward", case, strided=strided)

    def tangent(self, case: Any, direction: Any) -> Results:
        """Return the derivative of :meth:`forward` at a case in a direction.

        The arrays of the direction are those of the other case.
        """
        return self._results("tangent", case, direction)

    def run(self, case: Any) -> Results:
        """Return the results of forward, and of backward if there is one."""
        return self._run(case, ["forward", *({"backward"} & self.abilities)])

    def run_each(self, method: str, cases: Sequence[Any]) -> list[Results]:
        """Return the results of a method for some cases, in one plan of calls."""
        answers = self.session.run([self.call_for(method, case) for case in cases])
        return [self.read(method, case, a) for case, a in zip(cases, answers, strict=True)]

    def _run(self, case: Any, methods: Sequence[str]) -> Results:
        """Return the results of some methods on a case, called in one plan."""
        answers = self.session.run([self.call_for(method, case) for method in methods])
        results: Results = {}
        for method, answer in zip(methods, answers, strict=True):
            results |= self.read(method, case, answer)
        return results

    def _results(
        self, method: str, case: Any, direction: Any = None, *, strided: bool = False
    ) -> Results:
        if direction is None and not strided:
            return self._run(case, [method])
        (answer,) = self.session.run([self.call_for(method, case, direction, strided=strided)])
        return self.read(method, case, answer)
