"""Memory to receive into is used again, and never while anybody uses it."""

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


def test_what_nobody_uses_any_more_is_used_again():
    some = BufferPool()
    first = place(some.buffer(SIZE))
    assert place(some.buffer(SIZE)) == first
    assert place(some.buffer(SIZE + 1)) != first  # of that size alone


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
def test_what_is_still_used_is_not(use):
    some = BufferPool()
    room = some.buffer(SIZE)
    room[:] = 7
    used = use(room)
    first = place(room)
    del room
    assert place(some.buffer(SIZE)) != first
    del used
    gc.collect()
    assert first in (place(some.buffer(SIZE)), place(some.room(SIZE)))


def test_two_at_once_are_two():
    some = BufferPool()
    one, two = some.buffer(SIZE), some.room(SIZE)
    assert place(one) != place(two)


def test_what_is_small_is_not_worth_it():
    some = BufferPool()
    some.buffer(1000)
    assert not some._rooms


def test_little_is_kept(monkeypatch):
    monkeypatch.setattr(buffer_pool, "_CAPACITY", 3 * SIZE)
    some = BufferPool()
    held = [some.buffer(SIZE) for _ in range(10)]
    assert len(some._rooms) == 3
    del held
    large = some.buffer(4 * SIZE)
    assert len(large) == 4 * SIZE
    assert not some._rooms


def test_it_is_given_back_when_nobody_asks():
    some = BufferPool()
    some.buffer(SIZE)
    some.expire()
    assert some._rooms
    some.expire(-1.0)
    assert not some._rooms
