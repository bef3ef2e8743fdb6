"""Pushing one copy per node: memory that all engines of a node map, read-only."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...protocol import messages
from ...serialize import pickles
from ..connection.bulk_frames import in_parallel
from ..results.asyncresult import AsyncResult
from ..session.session import Session

if TYPE_CHECKING:
    from .namespaces import Namespaces

Place = tuple[int, list[int]]  # a process and its file descriptors


def push_shared(view: Namespaces, ns: dict[str, Any], targets: Any, block: bool | None) -> AsyncResult:
    """Push `ns`, its buffers in memory that the engines of a node share (see `DirectView.push`)."""
    session = view._session
    engines = session.engines.resolve(view.targets if targets is None else targets)
    nodes = {engine: session.engines.live[engine].node for engine in engines}
    head, *buffers = pickles.dumps(ns)  # the buffers are bulk, all of them: smaller ones are in the head
    here = session.connection.direct and not any(nodes.values())  # node 0 is the controller's, and so ours
    places, release = _keep_here(buffers) if here else _keep_there(session, nodes, buffers)
    try:
        result = view._call(
            "map_shared",
            "push",
            (bytes(head), [len(buffer) for buffer in buffers]),
            own=lambda n: [places[nodes[engine]] for engine in engines],
            targets=engines,
            block=block,
            single=isinstance(view.targets if targets is None else targets, int),
        )
    except BaseException:
        release()
        raise
    result.add_done_callback(lambda _: release())  # who maps the memory keeps it alive
    return result


def _keep_here(buffers: Sequence[Any]) -> tuple[dict[int, Place], Callable[[], None]]:
    """The memory is made by this process, which the engines share a node with."""
    descriptors = []
    for buffer in buffers:
        descriptor = os.memfd_create("mpidirect", os.MFD_CLOEXEC)
        descriptors.append(descriptor)
        in_parallel(partial(_write, descriptor, memoryview(buffer)), messages.chunks(len(buffer)))

    def release() -> None:
        while descriptors:
            os.close(descriptors.pop())

    return {0: (os.getpid(), list(descriptors))}, release


def _write(descriptor: int, buffer: memoryview, piece: tuple[int, int]) -> None:
    """Written, not mapped and copied: the kernel need not clear the pages first."""
    done, stop = piece
    while done < stop:
        done += os.pwrite(descriptor, buffer[done:stop], done)


def _keep_there(
    session: Session, nodes: dict[int, int], buffers: Sequence[Any]
) -> tuple[dict[int, Place], Callable[[], None]]:
    """The memory is made by the first engine of each node: waits until these have the data."""
    receivers = {node: engine for engine, node in reversed(nodes.items())}
    call = session.submit("share", "push", sorted(receivers.values()), [b"", *buffers])

    def release() -> None:
        for engine in receivers.values():
            if not session.is_over:
                session.release_result(call.id, engine)

    try:
        kept = AsyncResult(session, [call], method="push").get_dict()
    except BaseException:
        release()
        raise
    return {node: kept[receiver] for node, receiver in receivers.items()}, release
