"""IPython's base class and decorators of magics, with types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core import magic_arguments as _arguments
from IPython.core.magic import no_var_expand as _no_var_expand

_M = TypeVar("_M", bound=Callable[..., Any])

if TYPE_CHECKING:

    class Magics:
        """A set of magics of one shell."""

        shell: Any

        def __init__(self, shell: Any) -> None: ...

else:
    from IPython.core.magic import Magics as Magics


def argument(*names: str, **options: Any) -> Callable[[_M], _M]:
    """Return a decorator that adds an option to a magic: see `argparse.ArgumentParser.add_argument`."""
    decorator: Callable[[_M], _M] = _arguments.argument(*names, **options)
    return decorator


def magic_arguments(name: str | None = None) -> Callable[[_M], _M]:
    """Return a decorator that makes the parser of a magic from its options."""
    decorator: Callable[[_M], _M] = _arguments.magic_arguments(name)
    return decorator


def no_var_expand(magic: _M) -> _M:
    """Mark a magic whose line IPython passes on without expanding ``$name``."""
    marked: _M = _no_var_expand(magic)
    return marked


def parse_argstring(magic: Callable[..., Any], line: str) -> Any:
    """Return the options in the line of a magic."""
    return _arguments.parse_argstring(magic, line)
