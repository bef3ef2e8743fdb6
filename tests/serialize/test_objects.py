"""ipyparallel's functions for programs that have their own sockets."""

from __future__ import annotations

import numpy as np
import pytest

from mpidirect.serialize import deserialize_object, serialize_object
from mpidirect.util import disambiguate_url

pytestmark = pytest.mark.openmpi_only


def test_an_object_is_returned_with_the_remaining_frames():
    array = np.arange(100_000)
    frames = [bytes(frame) for frame in serialize_object({"a": array, "f": lambda x: x + 1})]
    assert len(frames) == 3
    found, rest = deserialize_object([*frames, b"more"])
    assert (found["a"] == array).all()
    assert found["f"](1) == 2
    assert rest == [b"more"]


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("tcp://*:5", "node7", "tcp://node7:5"),
        ("tcp://0.0.0.0:5", None, "tcp://127.0.0.1:5"),
        ("tcp://10.0.0.1:5", "node7", "tcp://10.0.0.1:5"),
        ("ipc:///tmp/a", "node7", "ipc:///tmp/a"),
    ],
)
def test_the_url_of_a_socket_that_is_bound_to_all_addresses(url, location, expected):
    assert disambiguate_url(url, location) == expected
