"""Durations and sizes as text for users."""

from __future__ import annotations

_LONG = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
_SHORT = (("s", 1.0), ("ms", 1e3), ("µs", 1e6))


def duration_in_words(seconds: float) -> str:
    """Return a duration in the unit that fits, with three digits; from a minute on in two units.

    Examples
    --------
    >>> [duration_in_words(seconds) for seconds in (0, 0.00178, 3.2, 75, 7384)]
    ['0 s', '1.78 ms', '3.2 s', '1 min 15 s', '2 h 3 min']
    """
    whole = round(seconds)
    for size, unit, smaller_size, smaller_unit in _LONG:
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller_unit}"
    for unit, factor in _SHORT:
        digits = f"{seconds * factor:.3g}"
        if float(digits) >= 1.0:
            return f"{float(digits):g} {unit}"
    return "0 s"


def size_in_words(size: float) -> str:
    """Return a number of bytes as text.

    Examples
    --------
    >>> size_in_words(310_000_000)
    '310.0 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if unit != "bytes" else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
