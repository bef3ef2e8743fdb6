"""``%autopx``: cells run on the engines until the mode is switched off."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

AUTO_MAGIC = "mpidirect_autopx"  # runs a cell; for an error of a magic, IPython shows no line of the cell


@contextmanager
def cells_run_here(shell: Any) -> Iterator[None]:
    """Suspend ``%autopx`` inside of a ``with`` block."""
    transforms = shell.input_transformer_manager.cleanup_transforms
    former = list(transforms)
    transforms[:] = [each for each in former if not isinstance(getattr(each, "__self__", None), AutoParallel)]
    try:
        yield
    finally:
        transforms[:] = former


class AutoParallel:
    """A transformation of cells into calls that run these cells on the engines.

    Parameters
    ----------
    shell : InteractiveShell
        The shell whose cells are transformed.
    suffix : str
        The suffix of the magics that run the cells.
    magics : collection of str
        The names of these magics: a cell that starts with one of them is not transformed.
    """

    def __init__(self, shell: Any, suffix: str, magics: Collection[str]) -> None:
        self._shell = shell
        self._suffix = suffix
        self._magics = magics

    @property
    def _transforms(self) -> list[Any]:
        transforms: list[Any] = self._shell.input_transformer_manager.cleanup_transforms
        return transforms

    def toggle(self) -> None:
        """Switch the mode on or off."""
        if self._redirect in self._transforms:
            self.stop()
        else:
            self._start()

    def _start(self) -> None:
        # Before IPython recognizes magics, because the engines' IPython must run the magics of a cell.
        names = [getattr(transform, "__name__", "") for transform in self._transforms]
        place = names.index("cell_magic") if "cell_magic" in names else len(names)
        self._transforms.insert(place, self._redirect)
        print(f"Auto Parallel Enabled\nType %autopx{self._suffix} to disable")

    def stop(self) -> None:
        """Switch the mode off if it is on."""
        if self._redirect in self._transforms:
            self._transforms.remove(self._redirect)
            print("Auto Parallel Disabled")

    def _redirect(self, lines: list[str]) -> list[str]:
        """Return the call that runs a cell on the engines."""
        cell = "".join(lines)
        if not cell.strip() or self._starts_with_magic(cell):
            return lines
        return [f"get_ipython().run_cell_magic({AUTO_MAGIC + self._suffix!r}, '', {cell!r})\n"]

    # IPython skips such a transformation when it only checks a cell.
    _redirect.has_side_effects = True  # type: ignore[attr-defined]

    def _starts_with_magic(self, cell: str) -> bool:
        """Return whether a cell starts with one of the magics, with or without a percent sign."""
        word = re.match(r"\s*(%{0,2})(\w+)\s*(\S?)", cell)
        if word is None:
            return False
        percent, name, following = word.groups()
        if name not in self._magics:
            return False
        return bool(percent) or (name.startswith(("px", "autopx")) and following not in ("=", ".", "(", ","))
