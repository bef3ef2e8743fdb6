"""Owners of files whose contents are executed: only this user and root may have written them."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from ..errors import Untrusted
from .private_directories import is_private
from .regular import open_regular

_OTHERS = stat.S_IWGRP | stat.S_IWOTH  # write permissions of others than the owner


def trusted_directory(path: Path, *, sheltered: bool = False) -> Path:
    """Return `path` if it does not exist, or if only this user and root can change the directory.

    Parameters
    ----------
    path : Path
        A directory.
    sheltered : bool
        Whether a private parent protects the directory, so that its mode does not matter.

    Raises
    ------
    Untrusted
        When it belongs to another user, or others can write to it.

    Examples
    --------
    >>> trusted_directory(Path("~/.mpidirect").expanduser())
    PosixPath('/home/me/.mpidirect')
    """
    try:
        seen = [path.lstat(), path.stat()]  # the owner of a link can change its target
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as e:
        raise Untrusted(f"{path} can't be checked: {e.strerror}.") from None
    for status in seen:
        _require_owner(path, status)
    if not sheltered:
        _refuse_writable(path, seen[-1], f"chmod 700 {path}")
    return path


def read_trusted(path: Path) -> bytes:
    """Return the contents of a file that only this user and root can have written.

    Raises
    ------
    OSError
        When the file can't be read.
    Untrusted
        When it belongs to another user, or others can write to it.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())  # of the open file: another file may have the name now
        _require_owner(path, status)
        if not any(map(is_private, list(path.parents)[:2])):
            _refuse_writable(path, status, f"chmod 600 {path}")
        return file.read()


def read_shared(path: Path) -> bytes:
    """Return the contents of a file that an administrator keeps for all users.

    Raises
    ------
    OSError
        When the file can't be read.
    Untrusted
        When every user can write to the file.
    """
    with open_regular(path) as file:
        _refuse_writable(path, os.fstat(file.fileno()), f"chmod o-w {path}", stat.S_IWOTH)
        return file.read()


def is_trusted(status: os.stat_result) -> bool:
    """Whether only this user and root can have written a file of this status."""
    return _has_trusted_owner(status) and not status.st_mode & _OTHERS


def _has_trusted_owner(status: os.stat_result) -> bool:
    return status.st_uid in (os.getuid(), 0)


def _require_owner(path: Path, status: os.stat_result) -> None:
    if _has_trusted_owner(status):
        return
    raise Untrusted(
        f"{path} belongs to {_name(status.st_uid)}, and you are {_name(os.getuid())}. Nothing in it was "
        "used: it could run any command in your name.\n"
        "Set MPIDIRECT_DIR (or HOME) to a directory of your own; as root after a sudo:  sudo -H …"
    )


def _refuse_writable(path: Path, status: os.stat_result, remedy: str, by: int = _OTHERS) -> None:
    if status.st_mode & by:
        raise Untrusted(
            f"{path} can be changed by other users (mode {stat.S_IMODE(status.st_mode):04o}; it belongs to "
            f"{_name(status.st_uid)}). Nothing in it was used: it could run any command in your name.\n"
            f"Check that its contents are yours, then:  {remedy}"
        )


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:  # for example in a container
        return f"user {uid}"
