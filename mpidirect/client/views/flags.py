"""The flags of a view: attributes that decide how calls are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..interface import ClientInterface
from ..session.engines import is_single_target
from ..type_variables import EngineSelection

if TYPE_CHECKING:
    from typing_extensions import Self

_ATTRIBUTES = frozenset({"client", "history", "_session"})
_MIN_SIMILARITY = 0.75  # minimum similarity of an unknown name and the suggested one
_MAX_SHOWN = 16  # maximum characters of the targets in the text of a view


class FlaggedView:
    """Engines of a cluster, with flags that decide how calls on these engines are made.

    Parameters
    ----------
    client : Client
        The client.
    targets : int, list of int or slice, optional
        The engines.
    **flags
        Other attributes that `FLAGS` names.
    """

    FLAGS: tuple[str, ...] = ("block", "track", "label", "targets")

    def __init__(self, client: ClientInterface, targets: EngineSelection = None, **flags: Any) -> None:
        self.client = client
        self._session = client._session
        self.targets = targets
        self.block: bool | None = client.block
        self.track = False
        self.label: str | None = None
        self.history: list[str] = []
        self.set_flags(**flags)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FLAGS and name not in _ATTRIBUTES:
            hint = self._hint_for(name)
            raise AttributeError(f"a view has no attribute {name!r} to set{hint and hint + ' = …'}")
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # type checkers must find names that do not exist

        def __getattr__(self, name: str) -> Any:
            hint = ""
            if not name.startswith("_"):
                import difflib

                public = [known for known in dir(self) if not known.startswith("_")]
                similar = difflib.get_close_matches(name, public, 1, _MIN_SIMILARITY)
                hint = f"; did you mean {similar[0]!r}?" if similar else self._hint_for(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        text = str(self.targets)
        return f"<{type(self).__name__} {text if len(text) <= _MAX_SHOWN else text[:12] + '...]'}>"

    def __len__(self) -> int:
        targets = self.targets
        if targets is None or isinstance(targets, (str, slice)):
            targets = self._session.engines.resolve(targets)
        return 1 if is_single_target(targets) else len(targets)

    def _hint_for(self, name: str) -> str:
        """Return the end of the error for an unknown attribute: the name that the user may have meant."""
        return ""

    # -- flags ------------------------------------------------------------------------------------------

    def set_flags(self, **flags: Any) -> Self:
        """Set several of ``block``, ``track``, ``targets`` and ``label``.

        Parameters
        ----------
        **flags
            The new values.

        Returns
        -------
        View
            The view itself.

        Raises
        ------
        KeyError
            When the view has no such flag.

        Examples
        --------
        >>> dview.set_flags(block=True, label="setup")
        """
        for name, value in flags.items():
            if name not in self.FLAGS:
                raise KeyError(f"Invalid name: {name!r}")
            setattr(self, name, value)
        return self

    @contextmanager
    def temp_flags(self, **flags: Any) -> Iterator[Self]:
        """Set flags inside of a ``with`` block.

        Parameters
        ----------
        **flags
            As for `set_flags`.

        Examples
        --------
        >>> with dview.temp_flags(block=True):
        ...     dview.apply(f)
        """
        former = {name: getattr(self, name) for name in self.FLAGS}
        self.set_flags(**flags)
        try:
            yield self
        finally:
            self.set_flags(**former)
