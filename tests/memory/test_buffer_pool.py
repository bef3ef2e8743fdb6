"""Received buffers are reused, but never while something uses them."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from mpidirect.memory import buffer_pool
from mpidirect.memory.buffer_pool import BufferPool
from mpidirect.serialize import pickles

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

SIZE = 2_000_000


def place(room):
    return room.ctypes.data


def test_unused_buffers_are_reused():
    pool = BufferPool()
    first = place(pool.buffer(SIZE))
    assert place(pool.buffer(SIZE)) == first
    assert place(pool.buffer(SIZE + 1)) != first  # only buffers of the same size


@pytest.mark.parametrize(
    "use",
    [
        lambda room: room,
        lambda room: room[10:20],
        lambda room: memoryview(room),
        lambda room: [{"deep": room}],
        lambda room: np.frombuffer(room, np.int32).reshape(-1, 5)[::2],
        lambda room: pickles.loads([pickles.dumps(np.zeros(SIZE, np.uint8))[0], room]),
    ],
)
def test_used_buffers_are_not_reused(use):
    pool = BufferPool()
    room = pool.buffer(SIZE)
    room[:] = 7
    used = use(room)
    first = place(room)
    del room
    assert place(pool.buffer(SIZE)) != first
    del used
    gc.collect()
    assert first in (place(pool.buffer(SIZE)), place(pool.buffer(SIZE)))


def test_two_buffers_at_once_differ():
    pool = BufferPool()
    one, two = pool.buffer(SIZE), pool.buffer(SIZE)
    assert place(one) != place(two)


def test_small_buffers_are_not_kept():
    pool = BufferPool()
    pool.buffer(1000)
    assert not pool._buffers


def test_the_kept_memory_is_limited(monkeypatch):
    monkeypatch.setattr(buffer_pool, "_CAPACITY", 3 * SIZE)
    pool = BufferPool()
    held = [pool.buffer(SIZE) for _ in range(10)]
    assert len(pool._buffers) == 3
    del held
    large = pool.buffer(4 * SIZE)
    assert len(large) == 4 * SIZE
    assert not pool._buffers


def test_buffers_expire_without_requests():
    pool = BufferPool()
    pool.buffer(SIZE)
    pool.expire()
    assert pool._buffers
    pool.expire(-1.0)
    assert not pool._buffers
