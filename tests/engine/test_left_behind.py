"""What code leaves on an engine, or does while it is pickled, does not affect later tasks."""

from __future__ import annotations

import sys
import time

import pytest
from waiting import until

from mpidirect import errors

pytestmark = [pytest.mark.timeout(60), pytest.mark.openmpi_only]  # nothing here depends on the MPI

ALARM = """
import signal
class Late(Exception):
    pass
def raises(signum, frame):
    global alarms
    alarms += 1
    raise Late("too late")
alarms = 0
signal.signal(signal.SIGALRM, raises)
"""


@pytest.fixture
def engine(rc):
    """An engine with a name that must survive all tests."""
    rc[0].push({"kept": 7})
    yield rc[0]
    assert rc[0].pull("kept", block=True) == 7
    assert rc.ids == [0, 1, 2, 3]


@pytest.fixture
def alarms(engine):
    engine.execute(ALARM, block=True)
    yield engine
    while True:  # the next alarm may come before the timer is stopped
        try:
            engine.execute("signal.signal(signal.SIGALRM, signal.SIG_IGN)", block=True)
            engine.execute("signal.setitimer(signal.ITIMER_REAL, 0)", block=True)
            break
        except errors.RemoteError as e:
            assert e.ename == "Late"
    engine.execute("signal.signal(signal.SIGALRM, signal.SIG_DFL)", block=True)


def test_an_alarm_after_its_task_ends_nothing(alarms):
    alarms.execute("signal.setitimer(signal.ITIMER_REAL, 0.01)", block=True)
    until_alarms(alarms, 1)


def until_alarms(engine, count):
    until(lambda: engine.pull("alarms", block=True) >= count)


def test_repeated_alarms_end_only_tasks(alarms):
    alarms.execute("signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)", block=True)
    failed = 0
    for k in range(300):
        result = alarms.apply_async(lambda k: k, k)
        try:
            assert result.get(20) == k
        except errors.RemoteError as e:
            failed += 1
            assert e.ename == "Late"
    assert failed < 300


def test_an_alarm_in_its_task_fails_the_task(alarms):
    late = alarms.execute(
        "signal.setitimer(signal.ITIMER_REAL, 0.01); __import__('time').sleep(20)", block=False
    )
    with pytest.raises(errors.RemoteError, match="too late"):
        late.get(30)


def test_a_handler_may_print_while_its_task_prints(engine):
    code = """
    import signal
    def prints(signum, frame):
        print("from the handler")
    before = signal.signal(signal.SIGALRM, prints)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    for _ in range(20000):
        print("x")
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert signal.signal(signal.SIGALRM, before) is prints
    assert signal.getsignal(signal.SIGALRM) is before
    """
    result = engine.execute(code, block=False)
    result.get(30)
    assert "from the handler" in result.stdout


@pytest.mark.parametrize("handler", ["SIG_DFL", "SIG_IGN"])
def test_interrupts_work_after_a_task_has_taken_them_over(engine, handler):
    engine.execute(f"import signal; signal.signal(signal.SIGINT, signal.{handler})", block=True)
    sleeping = engine.apply_async(time.sleep, 30)
    engine.client.interrupt(0)
    with pytest.raises(errors.RemoteError, match="KeyboardInterrupt"):
        sleeping.get(30)


@pytest.mark.parametrize(
    "code",
    [
        "sys.stderr = None",
        "sys.stdout = None",
        "del sys.stdout",
        "sys.stdout = open('/dev/null', 'w'); sys.stdout.close()",
    ],
)
def test_unusable_streams_are_restored(engine, code):
    engine.apply_sync(exec, f"import sys; {code}")
    result = engine.execute("import sys; print('out'); print('err', file=sys.stderr); 1", block=False)
    result.get(30)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_usable_stream_of_the_user_stays(engine):
    engine.execute("import io, sys; before, sys.stdout = sys.stdout, io.StringIO()", block=True)
    try:
        engine.execute("print('mine')", block=True)
        assert engine.pull("sys.stdout.getvalue()", block=True) == "mine\n"
    finally:
        engine.execute("sys.stdout = before", block=True)


class Exits:
    """An object that ends the process that unpickles it, unless the process prevents this."""

    def __reduce__(self):
        return exec, ("raise SystemExit(3)",)


@pytest.mark.parametrize("block", [False, True])
def test_a_result_that_exits_while_it_is_unpickled(engine, block):
    with pytest.raises(errors.RemoteError, match="can't be unpickled here: SystemExit: 3"):
        engine.apply_sync(Exits) if block else engine.apply_async(Exits).get(30)


def test_a_display_that_exits_while_it_is_unpickled(engine):
    pytest.importorskip("IPython")
    engine.push({"Exits": Exits})
    engine.execute("from IPython.display import publish_display_data as show", block=True)
    code = "show({'text/x': Exits()}); show({'text/plain': 'seen'})"
    shown = engine.execute(code, block=False)
    shown.get(20)
    first, second = shown.outputs
    assert "can't be unpickled here: SystemExit: 3" in first["data"]["text/plain"]
    assert second["data"]["text/plain"] == "seen"


def nested(levels):
    sys.setrecursionlimit(10**7)
    inner = []
    for _ in range(levels):
        inner = [inner]
    return inner


def test_a_result_with_too_deep_nesting(engine):
    limit = engine.apply_sync(sys.getrecursionlimit)
    try:
        with pytest.raises(errors.RemoteError, match="nested too deeply"):
            engine.apply_sync(nested, 300_000)
        # the user's setting is valid for the user's code
        assert engine.apply_sync(sys.getrecursionlimit) == 10**7
        assert len(engine.apply_sync(nested, 300)) == 1
    finally:
        engine.apply_sync(sys.setrecursionlimit, limit)


def test_an_argument_with_too_deep_nesting(engine):
    deep = []
    for _ in range(300_000):
        deep = [deep]
    with pytest.raises(errors.SerializationError, match="an argument of 'len' is nested too deeply"):
        engine.apply_sync(len, deep)
