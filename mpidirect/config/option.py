"""One option: its name in each place where it can be set, and the check of its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .values import Check


@dataclass(frozen=True)
class Option:
    """An option.

    Attributes
    ----------
    name : str
        The keyword and the key in ``config.toml``.
    check : callable
        Returns the value in its final form from the value in a file, a flag or a keyword; raises ValueError.
    default : object
        The value if nothing sets the option.
    help : str
        One sentence, for ``--help`` and for the comment in ``config.toml``.
    metavar : str
        The placeholder of the value in ``--help``.
    example : str
        A value as in ``config.toml``, if the default is no good example.
    flags : tuple of str
        Flags in addition to the flag made of the name.
    aliases : tuple of str
        Other names of the option: as keywords, in files and as flags.
    many : bool
        Whether the value is a list of lines, so that the flag can be repeated.
    is_switch : bool
        Whether the value is true or false, so that the flag takes none.
    """

    name: str
    check: Check
    default: Any
    help: str
    metavar: str
    example: str = ""
    flags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    many: bool = False
    is_switch: bool = False

    @property
    def variable(self) -> str:
        """The environment variable of this option."""
        return f"MPIDIRECT_{self.name.upper()}"

    @property
    def declarations(self) -> tuple[str, ...]:
        """The flags of this option."""
        names = (*self.aliases, self.name)
        own = (f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}" for name in names)
        return (*self.flags, *own)
