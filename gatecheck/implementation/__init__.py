"""The protocol of implementations, and subjects that call them canonically."""

from gatecheck.implementation.base import Results as Results
from gatecheck.implementation.declarations import any_subject as any_subject
from gatecheck.implementation.declarations import subject as subject
from gatecheck.implementation.session import InProcess as InProcess
from gatecheck.implementation.subject import Subject as Subject

__all__ = [
    "InProcess",
    "Results",
    "Subject",
    "any_subject",
    "subject",
]
