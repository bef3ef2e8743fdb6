"""A push of one copy per node: memory that all engines of a node map, read-only."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ...protocol import messages
from ...serialize import pickles
from ..connection.bulk_frames import in_parallel
from ..results.asyncresult import AsyncResult
from ..session.session import Session
from ..type_variables import EngineSelection
from .requests import RequestView

DescriptorOwner = tuple[int, list[int]]  # a process id, and file descriptors of that process


def push_shared(
    view: RequestView, ns: dict[str, Any], targets: EngineSelection, block: bool | None
) -> AsyncResult:
    """Push names, with arrays in memory that the engines of a node share: see `DirectView.push`.

    Parameters
    ----------
    view : RequestView
        The view.
    ns : dict
        Names and values.
    targets : int or list of int, optional
        The engines; by default those of the view.
    block : bool, optional
        Whether to wait; by default the view's ``block``.
    """
    session = view._session
    engines = session.engines.resolve(view.targets if targets is None else targets)
    nodes = {engine: session.engines.live[engine].node for engine in engines}
    head, *buffers = pickles.dumps(ns)  # the head contains the small buffers
    # Node 0 is the controller's; a client with direct memory access runs there too.
    on_this_node = session.connection.direct and not any(nodes.values())
    owners, release = _copy_here(buffers) if on_this_node else _copy_on_nodes(session, nodes, buffers)
    try:
        result = view._request(
            "map_shared",
            "push",
            (bytes(head), [len(buffer) for buffer in buffers]),
            parts_for=lambda n: [owners[nodes[engine]] for engine in engines],
            targets=engines,
            block=block,
            single=isinstance(view.targets if targets is None else targets, int),
        )
    except BaseException:
        release()
        raise
    result.add_done_callback(lambda _: release())  # the maps of the engines keep the memory alive
    return result


def _copy_here(buffers: Sequence[Any]) -> tuple[dict[int, DescriptorOwner], Callable[[], None]]:
    """Copy the buffers into shared memory of this process, which runs on the engines' node."""
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
    """Write a piece of a buffer. Writing is faster than a map, whose pages the kernel must clear first."""
    done, stop = piece
    while done < stop:
        done += os.pwrite(descriptor, buffer[done:stop], done)


def _copy_on_nodes(
    session: Session, nodes: dict[int, int], buffers: Sequence[Any]
) -> tuple[dict[int, DescriptorOwner], Callable[[], None]]:
    """Have the first engine of each node copy the buffers into shared memory; wait for these engines."""
    receivers = {node: engine for engine, node in reversed(nodes.items())}
    call = session.submit("share", "push", sorted(receivers.values()), [b"", *buffers])

    def release() -> None:
        for engine in receivers.values():
            if not session.is_over:
                session.release_result(call.id, engine)

    try:
        owners = AsyncResult(session, [call], method="push").get_dict()
    except BaseException:
        release()
        raise
    return {node: owners[receiver] for node, receiver in receivers.items()}, release
