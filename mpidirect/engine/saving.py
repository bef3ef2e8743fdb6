"""Namespaces in files: each engine writes and reads a file of its own.

A file is a sequence of frames of pickles. The manifest contains the position of each frame. The client has an
engine write it when all engines have written their files. Parts of scattered sequences are pickled one by
one, so that another number of engines can divide them anew. All other names are one pickle, so that names
which share an object share the object again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from ..arrays import joining, kinds
from ..arrays.lazy_numpy import np
from ..errors import SerializationError
from ..files.connection_file import write_private
from ..files.ownership import is_trusted
from ..files.regular import open_regular
from ..files.saved_namespaces import MANIFEST
from ..protocol.frames import Frame
from ..serialize import pickles

Namespace = dict[str, Any]
Place = list[list[int]]  # The start and the size in bytes of each frame of a pickle in a file.

_scattered: dict[str, str] = {}  # Scattered names, and their distributions.


def note_scattered(name: str, dist: str) -> None:
    """Note that a name has this engine's part of a scattered sequence."""
    _scattered[name] = dist


def forget_scattered(names: Sequence[str] | None = None) -> None:
    """Note that names, or all names, were set again or deleted."""
    for name in list(_scattered) if names is None else names:
        _scattered.pop(name, None)


def save(names: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Write names and their values to a new file that only the owner can read.

    Returns
    -------
    dict
        ``parts``: for each scattered name the distribution, the length, the type and the place.
        ``rest``: the place of all other names. ``sums``: for each of them a checksum. ``left``: for each name
        that can't be saved the reason. ``bytes``: the size of the file.
    """
    left: dict[str, str] = {}
    parts: dict[str, tuple[Any, list[Any]]] = {}
    rest: dict[str, Any] = {}
    for name, value in names.items():
        dist = _scattered.get(name)
        if dist is not None and hasattr(value, "__len__") and not isinstance(value, (str, bytes, dict)):
            frames = _try_pickle(name, value, left)
            if frames:
                parts[name] = ([dist, len(value), _element_type(value)], frames)
        else:
            rest[name] = value
    sums, whole = _pickle_together(rest, left)
    target = Path(path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        try:
            places = {name: [*about, _write(file, frames)] for name, (about, frames) in parts.items()}
            place = _write(file, whole)
            os.fsync(descriptor)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return {"parts": places, "rest": place, "sums": sums, "left": left, "bytes": file.tell()}


def _try_pickle(name: str, value: Any, left: dict[str, str]) -> list[Frame]:
    try:
        return pickles.dumps(value)
    except SerializationError as e:
        left[name] = str(e)
        return []


def _pickle_together(rest: dict[str, Any], left: dict[str, str]) -> tuple[dict[str, int], list[Frame]]:
    """Return checksums of the values, and one pickle of all values that can be pickled."""
    sums: dict[str, int] = {}
    for name, value in rest.items():
        frames = _try_pickle(name, value, left)
        if frames:
            sums[name] = _checksum(frames)
    return sums, pickles.dumps({name: value for name, value in rest.items() if name in sums})


def _checksum(frames: Sequence[Frame]) -> int:
    """Return a checksum of frames, which shows whether values on several engines are equal."""
    total = zlib.crc32(frames[0])
    for frame in frames[1:]:
        words = np.frombuffer(frame, np.uint8)
        words = words[: words.size // 8 * 8].view(np.uint64)
        total = zlib.crc32(
            f"{len(frame)} {int(words.sum())} {int(np.bitwise_xor.reduce(words))}".encode(), total
        )
    return total


def _element_type(value: Any) -> str:
    kind = kinds.of(value)
    if kind is None:
        return type(value).__name__
    return f"{kind.dtype(value)} {tuple(value.shape[1:])}"


def _write(file: BinaryIO, frames: Sequence[Frame]) -> Place:
    """Write frames at the end of a file; return their place."""
    place = []
    for frame in frames:
        view = memoryview(frame).cast("B")
        place.append([file.tell(), len(view)])
        while view:
            view = view[file.write(view) :]
    return place


def finish(path: str, manifest: bytes) -> None:
    """Write the manifest, which replaces an earlier one."""
    write_private(Path(path) / MANIFEST, manifest)


def read_manifest(path: str) -> bytes:
    """Return the manifest."""
    with _open_trusted(Path(path) / MANIFEST) as file:
        content: bytes = file.read()
        return content


def load(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Read the names and values that a plan gives this engine.

    Parameters
    ----------
    plan : mapping
        ``rest``: a file, a place in it, and the names to take, or None for all names. ``parts``: for each
        name the distribution, the cut, and the files and places of the parts. The cut is the first item and
        the end (blocks), the first item and the step (round robin), or None for all items.
    """
    file, place, wanted = plan["rest"]
    found: dict[str, Any] = _read(file, place) if place else {}
    if wanted is not None:
        found = {name: value for name, value in found.items() if name in wanted}
    for name, (dist, cut, sources) in plan["parts"].items():
        parts = [_read(file, place) for file, place in sources]
        if cut is None:
            found[name] = parts[0]
        else:
            whole = parts[0] if len(parts) == 1 else joining.join(parts, dist)
            found[name] = whole[cut[0] : cut[1]] if dist == "b" else whole[cut[0] :: cut[1]]
        note_scattered(name, dist)
    return found


def _open_trusted(path: Path) -> BufferedReader:
    """Open a file for unpickling, which can run any code: no other user can have written the file."""
    file = open_regular(path)
    if not is_trusted(os.fstat(file.fileno())):
        file.close()
        raise PermissionError(f"{path} can be changed by other users, and could run any code here")
    return file


def _read(path: str, place: Place) -> Any:
    frames = []
    with _open_trusted(Path(path)) as file:
        for start, size in place:
            buffer = np.empty(size, np.uint8)
            view = memoryview(buffer)
            file.seek(start)
            while view:
                count = file.readinto(view)
                if not count:
                    raise EOFError(f"{path} is shorter than its manifest says: it is not whole")
                view = view[count:]
            frames.append(buffer)
    return pickles.loads([bytes(frames[0]), *frames[1:]])
