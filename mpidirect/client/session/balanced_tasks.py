"""Requests for tasks that run on any free engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ...arrays import partition
from ...protocol import messages
from ...protocol.frames import Frame
from ...serialize import pickles
from ..calls.balanced_call import ID_MARK, BalancedCall
from .session import Session

BLOCK_BYTES = 16 * 1024  # approximate size of items that are pickled together
MAX_BLOCK_ITEMS = 1024  # maximum number of items that are pickled together
MAX_NAME = 200  # characters of a function's name


def submit(
    session: Session,
    method: str,
    targets: Sequence[int],
    shared: Sequence[Frame],
    items: Sequence[Any] | None,
    chunk: int = 0,
    retries: int = 0,
    after: messages.Prerequisites | None = None,
    follow: messages.Prerequisites | None = None,
    timeout: float = 0.0,
) -> BalancedCall:
    """Send tasks for any free engine.

    Parameters
    ----------
    session : Session
        The session to send by.
    method : str
        The name of the function.
    targets : sequence of int
        The engines that may run the tasks; empty for all.
    shared : sequence of frames
        The pickled function and its arguments.
    items : sequence of sequences, optional
        The sequences that the function is mapped over; None for one task.
    chunk : int
        The number of items of a task. 0 for one item; then the size decides how many tasks travel together.
    retries : int
        How often a failed task is tried again.
    after, follow : Prerequisites, optional
        The tasks that must have ended before, anywhere or on the same engine.
    timeout : float
        Seconds that the prerequisites may take; 0 for no limit.
    """
    session.check()
    method = method[:MAX_NAME]
    counts, parts = ([], []) if items is None else pickle_in_blocks(items, chunk)
    call = BalancedCall(
        session.new_id(ID_MARK),
        method,
        1 if items is None else len(items[0]),
        session.engines.live,
        session.release_result,
    )
    call.is_map = items is not None
    frames = [*shared]
    for part in parts:
        frames += part
    has_bulk = session.post(
        call,
        frames,
        messages.BalancedTasks,
        list(targets),
        "apply" if items is None else "map",
        method,
        list(map(len, shared)),
        [list(map(len, part)) for part in parts],
        counts,
        chunk,
        retries,
        after,
        follow,
        timeout,
    )
    if not has_bulk:
        call.resubmit = partial(submit, session, method, targets, shared, items, chunk, retries)
    return call


def pickle_in_blocks(items: Sequence[Any], chunk: int) -> tuple[list[int], list[list[Frame]]]:
    """Pickle items in blocks of similar size; return the number of items and the frames of each block."""
    length, unit = len(items[0]), chunk or 1
    counts: list[int] = []
    parts: list[list[Frame]] = []
    start, size = 0, unit
    while start < length:
        size = min(size, length - start)
        part = pickles.dumps([partition._slice(item, start, start + size) for item in items])
        nbytes = sum(map(len, part))
        if nbytes > 4 * BLOCK_BYTES and size > unit:
            size = max(1, size * BLOCK_BYTES // nbytes // unit) * unit
            continue
        counts.append(size)
        parts.append(part)
        start += size
        tasks = max(1, min(MAX_BLOCK_ITEMS, size * BLOCK_BYTES // max(nbytes, 1), 8 * size) // unit)
        size = tasks * unit
    return counts, parts
