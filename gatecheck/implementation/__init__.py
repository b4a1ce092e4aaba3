"""The protocol of implementations, and subjects that call them canonically."""

from gatecheck.implementation.subject import Results as Results
from gatecheck.implementation.subject import Subject as Subject
from gatecheck.implementation.subject import subject as subject

__all__ = [
    "Results",
    "Subject",
    "subject",
]
