"""The findings of ``mpidirect doctor``."""

from __future__ import annotations

import enum
from typing import NamedTuple

from ..errors import MPIDirectError, Untrusted


class Verdict(str, enum.Enum):
    """The result of a check."""

    GOOD = "ok"
    DOUBT = "warn"
    BAD = "fail"


class Finding(NamedTuple):
    """The finding of one check, and a remedy if it is not good."""

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def good(subject: str, found: str) -> Finding:
    """Return the finding that there is no problem."""
    return Finding(subject, Verdict.GOOD, found)


def doubt(subject: str, found: str, remedy: str) -> Finding:
    """Return the finding of a limit, or of a possible failure."""
    return Finding(subject, Verdict.DOUBT, found, remedy)


def bad(subject: str, found: str, remedy: str) -> Finding:
    """Return the finding of a problem that prevents clusters."""
    return Finding(subject, Verdict.BAD, found, remedy)


def from_error(subject: str, error: MPIDirectError, remedy: str) -> Finding:
    """Return the finding of an error that prevents clusters, with the error's remedy if it has one."""
    found, _, own = str(error).partition("\n") if isinstance(error, Untrusted) else (str(error), "", "")
    return bad(subject, found, own or remedy)
