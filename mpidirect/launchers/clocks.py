"""Durations and points in time as schedulers print them."""

from __future__ import annotations

import re
import time


def parse_duration(text: object) -> float | None:
    """Return the seconds of ``[D-]H:MM:SS``; None if `text` does not have this form."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", str(text))
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def parse_local_time(text: str, form: str) -> float | None:
    """Return a local time in seconds since the epoch; None if `text` is not of this `form` of strptime."""
    try:
        return time.mktime(time.strptime(text, form))
    except (ValueError, OverflowError):
        return None
