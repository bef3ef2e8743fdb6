"""Pickles: separate buffers, functions by value with the names of the receiver."""

from __future__ import annotations

import math
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpidirect.errors import SerializationError
from mpidirect.protocol.messages import BULK
from mpidirect.serialize.pickles import dumps, loads
from mpidirect.serialize.reference import evaluate

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


def travel(obj):
    """Return the unpickled object of the pickle of `obj`."""
    return loads([bytearray(frame) for frame in dumps(obj)])


@given(PLAIN)
def test_objects_arrive_equal(obj):
    assert travel(obj) == obj


def test_large_buffers_are_frames_that_are_not_copied():
    array = np.arange(BULK, dtype=np.uint8)
    frames = dumps({"a": array, "small": np.arange(3)})
    assert len(frames) == 2
    assert len(frames[0]) < 1000
    assert np.shares_memory(np.frombuffer(frames[1], np.uint8), array)


def test_arrays_use_the_received_memory():
    array = np.arange(BULK, dtype=float).reshape(2, -1)
    head, body = (bytearray(frame) for frame in dumps(array))
    again = loads([head, body])
    np.testing.assert_array_equal(again, array)
    assert again.flags.writeable
    assert np.shares_memory(again, np.frombuffer(body, np.uint8))


def test_arrays_that_are_not_contiguous():
    array = np.arange(4 * BULK).reshape(4, -1)[:, ::2]
    np.testing.assert_array_equal(travel(array), array)
    fortran = np.asfortranarray(np.arange(2 * BULK).reshape(2, -1))
    np.testing.assert_array_equal(travel(fortran), fortran)


def test_unpicklable_objects_are_named():
    with pytest.raises(SerializationError, match="lock"):
        dumps(threading.Lock())
    with pytest.raises(TypeError):
        dumps((abs, (threading.Lock(),), {}))
    with pytest.raises(SerializationError, match="'abs'"):
        dumps((abs, (threading.Lock(),), {}))


def test_functions_of_modules_are_sent_by_reference():
    assert travel(math.sqrt) is math.sqrt
    assert len(dumps(math.sqrt)[0]) < 100


def test_functions_of_the_prompt_have_the_namespace_as_globals(main):
    exec("a = 1\ndef f(x=2):\n    'Doc.'\n    return a + x\nf.note = 'kept'", main.__dict__)
    again = travel(main.f)
    assert again.__globals__ is main.__dict__
    assert (again(), again.__doc__, again.note) == (3, "Doc.", "kept")
    main.a = 10
    assert again() == 12


def test_data_of_the_prompt_is_not_sent_with_its_functions(main):
    main.large = np.zeros(BULK)
    exec("def f(): return large.sum()", main.__dict__)
    assert sum(len(frame) for frame in dumps(main.f)) < 2000


def test_missing_names_are_found_among_the_sent_ones(main):
    exec("import math as m\ndef helper(): return 7\ndef f(): return helper() + m.floor(1.5)", main.__dict__)
    frames = [bytes(frame) for frame in dumps(main.f)]
    del main.helper, main.m
    assert loads(frames)() == 8
    assert not hasattr(main, "helper")
    main.helper = lambda: 0  # the receiver's name has priority
    assert loads(frames)() == 1


def test_inner_functions_keep_their_module():
    def f():
        return BULK

    assert travel(f)() == BULK


def test_closures_that_refer_to_themselves():
    def f(n):
        return 1 if n == 0 else n * f(n - 1)

    assert travel(f)(5) == 120


def test_references(main):
    main.x = [1, 2]
    assert evaluate("x") is main.x
    assert evaluate("x[0] + len(x)") == 3
    with pytest.raises(NameError):
        evaluate("nothing")


def test_truncated_pickles_raise():
    frames = dumps([1, 2, 3])
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        loads([bytes(frames[0])[:-3]])
