"""The checks of values: each returns the final form of a value, or raises ValueError with the right form."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

Check = Callable[[Any], Any]
Number = TypeVar("Number", int, float)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds


def text(value: Any) -> str:
    """Return a text without blanks around it."""
    if not isinstance(value, str):
        raise ValueError("a text in quotes")
    return value.strip()


def positive(value: Any) -> int:
    """Return a whole number above zero; `value` is a number or its digits."""
    number = _number(value, int, "a whole number of at least 1")
    if number < 1:
        raise ValueError("a whole number of at least 1")
    return int(number)


def seconds(value: Any) -> float:
    """Return a time in seconds; `value` is a number or a text like ``90s``, ``5m``, ``1h``."""
    expected = "seconds, or a time like 90s, 5m, 1h"
    factor = 1
    if isinstance(value, str) and value[-1:] in _UNITS:
        value, factor = value[:-1], _UNITS[value[-1]]
    number = _number(value, float, expected)
    if not 0 <= number < float("inf"):
        raise ValueError(expected)
    return number * factor


def size(value: Any) -> int:
    """Return a number of bytes; `value` is a number or a text like ``512 MiB``, ``2GB``."""
    expected = "bytes, or a size like 512MiB, 2GB"
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([0-9.]+)\s*([kKMGT]?)(i?)[bB]?\s*", value)
        if not found:
            raise ValueError(expected)
        number, prefix, binary = found.groups()
        power = " KMGT".index(prefix.upper() or " ")
        return int(_number(number, float, expected) * (1024 if binary else 1000) ** power)
    return int(_number(value, int, expected))


def walltime(value: Any) -> str:
    """Return a walltime as ``H:MM:SS``; `value` is ``90m``, ``2h``, ``1d``, ``H:MM:SS`` or ``D-HH:MM:SS``.

    A plain number is refused: some schedulers take it for minutes, others for seconds.
    """
    expected = "a time like 90m, 2h, 1:30:00 or 2-00:00:00"
    if not isinstance(value, str):
        raise ValueError(expected)
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", value.strip())
    if found:
        days, hours, minutes, rest = (int(part or 0) for part in found.groups())
        total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    else:
        try:
            total = int(seconds(value)) if value[-1:] in _UNITS else 0
        except ValueError:
            total = 0
    if not total:
        raise ValueError(expected)
    return f"{total // 3600}:{total // 60 % 60:02}:{total % 60:02}"


def lines(value: Any) -> tuple[str, ...]:
    """Return lines; `value` is a list of texts, or one text."""
    if isinstance(value, str):
        value = value.splitlines()
    if not isinstance(value, (list, tuple)) or not all(isinstance(line, str) for line in value):
        raise ValueError('lines, like ["module load openmpi", "conda activate work"]')
    return tuple(line for text in value for line in text.splitlines())


def one_of(*choices: str) -> Check:
    """Return the check for one of some words."""

    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(" or ".join(map(repr, choices)))
        return str(value)

    return check


def switch(value: Any) -> bool:
    """Return a truth value; `value` is one, or ``true`` or ``false`` as text."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def port(value: Any) -> str:
    """Return a port or a range of ports as text; ``0`` means any port."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", str(value).strip())
    expected = "a port, a range like 40000-40100, or 0 for any"
    if not found or isinstance(value, bool):
        raise ValueError(expected)
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last <= 65535:
        raise ValueError(expected)
    return found[0]


def _number(value: Any, kind: type[Number], expected: str) -> Number:
    """Return a number from a number or its digits; `expected` is the text of the ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(expected)
    try:
        number = kind(value)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if not isinstance(value, str) and number != value:
        raise ValueError(expected)
    return number
