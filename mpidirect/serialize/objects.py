"""ipyparallel's functions for programs that send objects by their own sockets."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from ..protocol.frames import Frame
from . import pickles

_COUNT = struct.Struct(">I")  # the first frame: how many frames of the object follow


def serialize_object(obj: Any, buffer_threshold: int = 1024 * 1024, item_threshold: int = 64) -> list[Frame]:
    """Pickle an object as frames, for example for ``socket.send_multipart``.

    Parameters
    ----------
    obj : object
        Any object that can be an argument of `apply`.
    buffer_threshold, item_threshold : int
        Accepted as in ipyparallel, and not used.

    Returns
    -------
    list of buffers
        The frames; large buffers are not copied.

    Raises
    ------
    SerializationError
        When the object can't be pickled.

    Examples
    --------
    >>> deserialize_object(serialize_object({"a": 1}))
    ({'a': 1}, [])
    """
    frames = pickles.dumps(obj)
    return [_COUNT.pack(len(frames)), *frames]


def deserialize_object(buffers: Iterable[Frame], g: dict[str, Any] | None = None) -> tuple[Any, list[Frame]]:
    """Return the object of `serialize_object`, and the frames after it.

    Parameters
    ----------
    buffers : iterable of buffers
        The frames.
    g : dict, optional
        Accepted as in ipyparallel, and not used.

    Returns
    -------
    obj : object
        The object.
    rest : list of buffers
        The frames that do not belong to the object.

    Examples
    --------
    >>> deserialize_object([*serialize_object(1), b"more"])
    (1, [b'more'])
    """
    first, *frames = buffers
    (count,) = _COUNT.unpack(first)
    return pickles.loads(frames[:count]), frames[count:]
