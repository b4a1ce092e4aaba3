"""The protocol of implementations, and subjects that call them canonically."""

from gatecheck.implementation.declarations import subject as subject
from gatecheck.implementation.subject import Results as Results
from gatecheck.implementation.subject import Subject as Subject

__all__ = [
    "Results",
    "Subject",
    "subject",
]
