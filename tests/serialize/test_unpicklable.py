"""Objects that can't be sent raise at the prompt: the error names their place, their kind and a remedy."""

from __future__ import annotations

import functools
import pickle
import socket
import sqlite3
import subprocess
import sys
import threading

import pytest

from mpidirect.errors import SerializationError
from mpidirect.serialize import calls
from mpidirect.serialize.pickles import dumps, loads

pytestmark = pytest.mark.openmpi_only  # the same with any MPI


def refused(obj) -> str:
    with pytest.raises(SerializationError) as caught:
        dumps(obj)
    return str(caught.value)


class Holder:
    def __init__(self, thing):
        self.thing = thing


class Slots:
    __slots__ = ("thing",)


def generator():
    return (i for i in range(3))


async def coroutine():
    pass


def test_names_and_remedies():
    assert refused({"g": generator()}) == (
        "g: a generator can't be pickled, so nothing was sent (list(...) first)"
    )
    assert refused({"s": socket.socket()}).startswith("s: a socket ")
    assert refused({"t": threading.Thread()}).startswith("t: a thread ")
    assert refused({"e": threading.Event()}).startswith("e: a lock ")
    assert refused({"db": sqlite3.connect(":memory:")}).startswith("db: a connection to a database")
    waiting = coroutine()
    assert refused({"c": waiting}).startswith("c: a coroutine ")
    waiting.close()
    with subprocess.Popen(["true"]) as process:
        assert refused({"p": process}).startswith("p: a process ")


@pytest.mark.parametrize("mode", ["r", "rb", "w", "r+b"])
def test_open_files_are_refused(tmp_path, mode):
    path = tmp_path / "file"
    path.write_text("text")
    with path.open(mode) as file:
        assert "an open file can't be pickled" in refused({"f": file})
        assert "send the path or the contents" in refused([Holder(file)])


def test_the_standard_streams_are_those_of_the_engine(monkeypatch):
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    assert loads(dumps(sys.stdout)) is sys.stdout


def test_the_error_names_the_path_to_the_object():
    lock, slots = threading.Lock(), Slots()
    slots.thing = lock
    assert refused({"a": {"b": [1, lock]}}).startswith("a['b'][1]: a lock")
    assert refused({"a": Holder({"k": (lock,)})}).startswith("a.thing['k'][0]: a lock")
    assert refused({"a": slots}).startswith("a.thing: a lock")
    assert refused(lock).startswith("a lock")


def test_the_arguments_and_the_function_of_a_call():
    lock = threading.Lock()

    def inner():
        return lock

    def error(f, *args, **kwargs):
        with pytest.raises(SerializationError) as caught:
            calls.dumps(f, args, kwargs)
        return str(caught.value)

    inner.__module__ = "__main__"
    assert error(len, generator()).startswith("argument 1 of 'len': a generator")
    assert error(len, x=[lock]).startswith("argument x of 'len', at [0]: a lock")
    assert error(inner).startswith("the function 'inner', its variable 'lock': a lock")
    assert error(functools.partial(len, lock)).startswith("the function 'partial', its argument 1: a lock")


def test_the_error_of_user_code_is_the_cause():
    class Bad:
        def __reduce__(self):
            raise ValueError("never")

    with pytest.raises(SerializationError, match="ValueError: never") as caught:
        dumps({"b": Bad()})
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(SerializationError) as caught:
        dumps({"g": generator()})
    assert caught.value.__cause__ is None  # frames of cloudpickle would not help


def test_objects_that_raise_when_they_are_inspected():
    class Odd:
        def __getattribute__(self, name):
            raise RuntimeError("don't look")

    assert "can't be pickled" in refused({"o": Odd()})
    deep: list = [threading.Lock()]
    for _ in range(50):
        deep = [deep]
    assert "can't be pickled" in refused(deep)
    loop: dict = {"lock": threading.Lock()}
    loop["self"] = loop
    assert "can't be pickled" in refused(loop)


def test_errors_can_be_pickled():
    with pytest.raises(SerializationError) as caught:
        dumps(generator())
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_clients_views_and_results_stay_here(dview):
    assert refused({"rc": dview.client}).startswith("rc: a Client ")
    assert refused({"v": [dview]}).startswith("v[0]: a DirectView ")
    with pytest.raises(SerializationError, match=r"argument 1 of 'len': an AsyncResult .*what its get"):
        dview.apply(len, dview.apply_async(int))
