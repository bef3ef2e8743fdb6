"""All options with their aliases, and the values that they accept.

The option ``start_timeout`` is the keyword ``Cluster(start_timeout=…)``, the line ``start_timeout = …`` of a
``config.toml``, the variable ``MPIDIRECT_START_TIMEOUT`` and the flag ``--start-timeout``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from ..errors import ConfigError
from .definitions import BATCH, COMMON, REMOTE
from .option import Option


class Options:
    """The options: `COMMON`, `BATCH`, `REMOTE` and the options that a launcher adds."""

    def __init__(self, extra: Iterable[Option] = ()) -> None:
        self.all = {option.name: option for option in (*COMMON, *BATCH, *REMOTE, *extra)}
        self.aliases = {alias: option.name for option in self.all.values() for alias in option.aliases}

    def find(self, name: str) -> Option:
        """Return the option of this name or alias.

        Raises
        ------
        ConfigError
            When there is none; the message suggests the nearest name.
        """
        try:
            return self.all[self.aliases.get(name, name)]
        except KeyError:
            close = difflib.get_close_matches(name.replace("-", "_").lower(), self.all, 1, 0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(self.all)}"
            raise ConfigError(f"unknown option '{name}'; {hint}") from None

    def check_names(self, names: Iterable[str]) -> None:
        """Raise ConfigError for the first name that no option has."""
        for name in names:
            self.find(name)

    def value(self, name: str, given: Any) -> Any:
        """Return the value in its final form that option `name` has by `given`.

        Raises
        ------
        ConfigError
            When the value is wrong; the message says what is expected.
        """
        option = self.find(name)
        try:
            return option.check(given)
        except ValueError as e:
            raise ConfigError(f"{name} = {_as_toml(given)}: this should be {e}") from None


def _as_toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
