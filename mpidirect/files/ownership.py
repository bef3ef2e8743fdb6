"""Whom files may be from: what they say is run, so only this user and root may have written it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from ..errors import Untrusted
from .private_directories import is_private

_OTHERS = stat.S_IWGRP | stat.S_IWOTH  # who may write, beside the owner


def trusted_directory(path: Path, *, sheltered: bool = False) -> Path:
    """Return `path`, if it is not there or nobody but this user and root can change what is in it.

    Parameters
    ----------
    path : Path
        A directory.
    sheltered : bool
        Whether its mode says nothing, as others can't come to it.

    Raises
    ------
    Untrusted
        When it is another user's, or others can write to it.

    Examples
    --------
    >>> trusted_directory(Path("~/.mpidirect").expanduser())
    PosixPath('/home/me/.mpidirect')
    """
    try:
        seen = [path.lstat(), path.stat()]  # who has made a link may change where it leads
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as e:
        raise Untrusted(f"{path} can't be looked at: {e.strerror}.") from None
    for status in seen:
        _must_be_ours(path, status)
    if not sheltered:
        _must_not_be_writable(path, seen[-1], f"chmod 700 {path}")
    return path


def read_trusted(path: Path) -> bytes:
    """Read a file that nobody but this user and root can have written.

    Raises
    ------
    OSError
        When it can't be read.
    Untrusted
        When it is another user's, or others can write to it.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())  # of what is read, whatever has the name now
        _must_be_ours(path, status)
        if not any(map(is_private, list(path.parents)[:2])):
            _must_not_be_writable(path, status, f"chmod 600 {path}")
        return file.read()


def read_shared(path: Path) -> bytes:
    """Read a file that an administrator keeps for all users: not everybody may change it.

    Raises
    ------
    OSError
        When it can't be read.
    Untrusted
        When everybody can write to it.
    """
    with path.open("rb") as file:
        _must_not_be_writable(path, os.fstat(file.fileno()), f"chmod o-w {path}", stat.S_IWOTH)
        return file.read()


def is_trusted(status: os.stat_result) -> bool:
    """Whether nobody but this user and root can have written what has this status."""
    return _is_ours(status) and not status.st_mode & _OTHERS


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (os.getuid(), 0)


def _must_be_ours(path: Path, status: os.stat_result) -> None:
    if _is_ours(status):
        return
    raise Untrusted(
        f"{path} belongs to {_name(status.st_uid)}, and you are {_name(os.getuid())}. Nothing in it was "
        "used: it could run any command in your name.\n"
        "Set MPIDIRECT_DIR (or HOME) to a directory of your own; as root after a sudo:  sudo -H …"
    )


def _must_not_be_writable(path: Path, status: os.stat_result, remedy: str, by: int = _OTHERS) -> None:
    if status.st_mode & by:
        raise Untrusted(
            f"{path} can be changed by other users (mode {stat.S_IMODE(status.st_mode):04o}; it belongs to "
            f"{_name(status.st_uid)}). Nothing in it was used: it could run any command in your name.\n"
            f"Look whether all that is in it is yours, then:  {remedy}"
        )


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:  # in a container, perhaps
        return f"user {uid}"
