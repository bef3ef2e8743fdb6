"""The load-balanced view: tasks run on free engines."""

# ruff: noqa: F821
from __future__ import annotations

import itertools
import os
import sys
import time

import numpy as np
import pytest
from conftest import occupied
from proxy import Proxy, at_random
from waiting import until

import mpidirect
from mpidirect import Client, errors
from mpidirect.serialize.dependency import Dependency
from mpidirect.serialize.requirements import depend, require

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def lview(rc):
    return rc.load_balanced_view()


def test_a_result_names_the_engine_of_the_task(lview, rc):
    result = lview.apply_async(lambda: rank)
    assert result.get(30) == result.engine_id
    assert result.engine_id in rc.ids
    assert lview.apply_sync(pow, 2, 10) == 1024


@pytest.mark.parametrize("chunksize", ["auto", 1, 7, 1000])
@pytest.mark.parametrize("length", [0, 1, 5, 3000])
def test_map_works_like_the_builtin(lview, chunksize, length):
    if chunksize == 1 and length > 100:
        length = 300
    expected = [x * x for x in range(length)]
    assert lview.map_sync(lambda x: x * x, range(length), chunksize=chunksize) == expected
    assert list(lview.map_async(lambda x: x * x, iter(range(length)), chunksize=chunksize)) == expected


def test_the_shortest_sequence_decides(lview):
    assert lview.map_sync(lambda x, y: (x, y), "abc", range(2)) == [("a", 0), ("b", 1)]


@pytest.mark.parametrize("size", [10, 100_000])
def test_arrays_as_arguments_and_results(lview, size):
    arrays = [np.full(size, float(k)) for k in range(9)]
    doubled = lview.map_sync(lambda a: 2 * a, arrays)
    for k, found in enumerate(doubled):
        assert np.array_equal(found, np.full(size, 2.0 * k))
    whole = np.arange(float(size))
    assert lview.map_sync(lambda k: float(whole[k]), range(10)) == list(range(10))
    assert lview.apply_sync(lambda a: a.nbytes, whole) == whole.nbytes
    assert lview.map_sync(float, np.arange(10)) == list(range(10))


def test_slow_tasks_are_spread_over_all_engines(lview):
    def slow(x):
        time.sleep(0.02)
        return rank

    lview.map_sync(abs, range(2000))  # tasks without length
    where = lview.map_sync(slow, range(40))
    assert sorted(where.count(engine) for engine in range(4))[0] >= 5


def test_a_busy_engine_gets_no_tasks(rc, lview, tmp_path):
    busy = rc[2].apply_async(occupied(tmp_path))
    where = lview.map_sync(lambda x: rank, range(40))
    assert 2 not in where
    (tmp_path / "go on").touch()
    busy.get(30)


def test_each_task_has_its_own_output(lview):
    for _ in range(2):  # the second call knows the length of the tasks, and many tasks travel together
        result = lview.map_async(lambda x: print("said", x) if x % 50 == 7 else None, range(200))
        result.get(20)
    assert result.stdout == [f"said {x}\n" if x % 50 == 7 else "" for x in range(200)]


def test_the_output_of_c_code_belongs_to_the_task_that_wrote_it(lview):
    write = os.write  # not by Python's streams
    result = lview.map_async(lambda x: write(1, b"%d" % x) if x % 50 == 7 else x, range(200))
    result.get()
    assert result.stdout == [f"{x}" if x % 50 == 7 else "" for x in range(200)]


def test_a_blocking_call_at_a_prompt_shows_what_tasks_print(lview, monkeypatch, capsys):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert lview.map_sync(lambda x: print("said", x), range(3)) == [None] * 3
    shown = capsys.readouterr().out
    assert sorted(line.partition("said ")[2] for line in shown.splitlines() if "said" in line) == list("012")
    assert "[stdout:" in shown


def test_neither_view_starves_the_other(rc, lview):
    direct = [rc[:].apply_async(time.sleep, 0.01) for _ in range(500)]
    assert lview.map_sync(abs, range(-3, 0)) == [3, 2, 1]
    assert not direct[250].ready()
    rc.abort(direct)
    balanced = lview.map_async(time.sleep, [0.01] * 2000)
    assert rc[:].apply_sync(abs, -1) == [1] * 4
    assert not balanced.ready()
    balanced.abort()


def test_clients_take_turns(rc, cluster):
    long = rc.load_balanced_view().map_async(time.sleep, [0.005] * 1000)
    with Client(str(cluster.connection_file)) as other:
        assert other.load_balanced_view().map_sync(abs, range(-3, 0)) == [3, 2, 1]
    assert not long.ready()
    assert 0 < rc.queue_status()["unassigned"] <= 1000
    long.abort()
    assert rc.queue_status()["unassigned"] == 0


def test_targets_restrict_the_engines(rc):
    assert set(rc.load_balanced_view([0, 3]).map_sync(lambda x: rank, range(50))) <= {0, 3}
    assert set(rc.load_balanced_view(1).map_sync(lambda x: rank, range(10))) == {1}


def test_errors_are_those_of_their_items(lview):
    def f(x):
        print("at", x)
        return 12 // x

    result = lview.map_async(f, [1, 0, 3, 0])
    with pytest.raises(errors.CompositeError, match="ZeroDivisionError") as caught:
        result.get(30)
    assert len(caught.value.elist) == 2
    assert sorted(result.failures) == [1, 3]
    assert "".join(result.stdout)
    values = lview.map_sync(f, [1, 0, 3], return_exceptions=True)
    assert values[::2] == [12, 4]
    assert values[1].ename == "ZeroDivisionError"
    with pytest.raises(errors.RemoteError, match="ZeroDivisionError"):
        lview.apply_sync(f, 0)


def test_an_unpicklable_item_fails_alone(lview):
    values = lview.map_sync(
        lambda x: (lambda: x) if x != 2 else iter(x for x in ()), range(4), return_exceptions=True
    )
    assert [v() for k, v in enumerate(values) if k != 2] == [0, 1, 3]
    assert values[2].ename == "SerializationError"


def test_results_arrive_when_they_are_ready(lview):
    def f(x):
        time.sleep(x)
        return x

    times = [0.4, 0.01, 0.01, 0.01, 0.01]
    assert list(lview.map_async(f, times, ordered=False))[-1] == 0.4
    assert list(lview.map_async(f, times)) == times


@pytest.mark.parametrize("ordered", [True, False])
def test_imap_takes_endless_iterables(lview, ordered):
    taken = []

    def numbers():
        for k in itertools.count():
            taken.append(k)
            yield k

    values = lview.imap(lambda x: 2 * x, numbers(), ordered=ordered, max_outstanding=8)
    found = list(itertools.islice(values, 50))
    assert found == [2 * k for k in range(50)] if ordered else set(found) <= {2 * k for k in range(60)}
    assert len(taken) <= 60
    values.close()


def test_a_task_waits_for_others(lview):
    first = lview.apply_async(time.sleep, 0.1)
    many = lview.map_async(abs, range(50))
    with lview.temp_flags(after=[first, many]):
        after = lview.apply_async(time.time)
    assert after.get(30) >= first.completed.timestamp()
    with lview.temp_flags(follow=first):
        follow = lview.apply_async(time.time)
    assert follow.get(30) >= first.completed.timestamp()
    assert follow.engine_id == first.engine_id


def test_a_task_waits_for_a_call_on_chosen_engines(rc, lview):
    pushed = rc[1:3].apply_async(time.sleep, 0.1)
    with lview.temp_flags(after=pushed):
        after = lview.apply_async(time.time)
    assert after.get(30) >= max(pushed.completed).timestamp()
    with lview.temp_flags(follow=rc[2].apply_async(abs, 1)):
        assert lview.apply_sync(lambda: rank) == 2
    failed = rc[:].apply_async(lambda: 1 / rank)
    with lview.temp_flags(after=failed), pytest.raises(errors.ImpossibleDependency):
        lview.apply_sync(abs, 1)
    with pytest.raises(errors.CompositeError):
        failed.get()


def test_large_data_reaches_busy_engines(rc, lview):
    many = [rc[:].apply_async(time.sleep, 0.01) for _ in range(300)]
    assert lview.map_sync(np.sum, [np.ones(100_000)] * 3) == [100_000.0] * 3
    assert not many[-1].ready()
    rc.abort(many)


def test_dependencies_that_can_not_be_met(lview):
    bad = lview.apply_async(lambda: 1 / 0)
    with lview.temp_flags(after=bad):
        never = lview.apply_async(abs, 1)
    with lview.temp_flags(after=Dependency(bad, success=False, failure=True)):
        assert lview.apply_sync(abs, -1) == 1
    with pytest.raises(errors.ImpossibleDependency):
        never.get(30)
    with lview.temp_flags(after=["nobody's"]), pytest.raises(errors.InvalidDependency):
        lview.apply_sync(abs, 1)
    with lview.temp_flags(after=lview.apply_async(time.sleep, 0.5), timeout=0.05):
        late = lview.apply_async(abs, 1)
    with pytest.raises(errors.TaskTimeout):
        late.get(30)
    with pytest.raises(ValueError, match="Invalid dependency"):
        lview.set_flags(after=3)
    successful = lview.map_async(abs, range(4))
    with pytest.raises(errors.RemoteError):
        bad.get(30)
    with lview.temp_flags(after=Dependency([bad, successful], all=False)):
        assert lview.apply_sync(abs, -1) == 1


def test_a_chain_of_tasks(lview):
    results = [lview.apply_async(abs, 0)]
    for k in range(200):
        with lview.temp_flags(after=results[-1]):
            results.append(lview.apply_async(abs, -k))
    assert results[-1].get(30) == 199


def test_conditions_choose_the_engine(lview):
    @depend(lambda wanted: rank == wanted, 2)
    def on_two():
        return rank

    assert [lview.apply_sync(on_two) for _ in range(3)] == [2, 2, 2]
    assert lview.map_sync(depend(lambda: rank > 1)(lambda x: rank > 1), range(8)) == [True] * 8

    @require("no_such_module")
    def nowhere():
        pass

    with pytest.raises(errors.ImpossibleDependency, match="no_such_module"):
        lview.apply_sync(nowhere)


def test_tasks_that_fail_begin_again_elsewhere(lview):
    def picky():
        if rank != 3:
            raise RuntimeError("not here")
        return rank

    with lview.temp_flags(retries=3):
        assert lview.apply_sync(picky) == 3
    with pytest.raises(errors.RemoteError, match="not here"), lview.temp_flags(retries=5):
        lview.apply_sync(lambda: exec("raise RuntimeError('not here')"))


def test_abort_and_interrupt(lview, rc):
    result = lview.map_async(time.sleep, [0.2] * 100)
    lview.apply_async(abs, 1)
    until(lambda: any(rc.where().values()))
    result.abort()
    assert result.wait(30)
    with pytest.raises(errors.CompositeError, match="TaskAborted"):
        result.get()
    assert 1 <= sum(status == "ok" for status in result.status) <= 12
    result = lview.map_async(time.sleep, [30] * 12)
    until(lambda: any(rc.where().values()))
    result.interrupt()
    assert sorted({r.ename for r in result.failures.values()}) == ["KeyboardInterrupt"]
    assert lview.map_sync(abs, range(4)) == [0, 1, 2, 3]


def test_results_are_kept_for_other_clients(cluster, rc):
    with Client(str(cluster.connection_file)) as gone:
        result = gone.load_balanced_view().map_async(lambda x: (time.sleep(0.01), x)[1], range(100))
        [id] = dict.fromkeys(id.partition(":")[0] for id in result.msg_ids)
    # the controller may handle this query before the goodbye of the other client
    until(lambda: id in rc.hub_history())
    assert rc.get_result(id).get(20) == list(range(100))


def test_a_cut_connection_loses_and_repeats_no_task(cluster, rc, tmp_path):
    log = str(tmp_path / "ran")

    def noted(k):
        with open(log, "a") as file:  # noqa: PTH123
            file.write(f"{k}\n")
        return k

    with (
        Proxy(cluster.connection_file, at_random(7, 4_000, 100_000)) as proxy,
        Client(proxy.info, timeout=20) as client,
    ):
        lview = client.load_balanced_view()
        many = lview.map_async(noted, range(2000), chunksize=1)
        single = [lview.apply_async(noted, 2000 + k) for k in range(100)]
        assert many.get(60) == list(range(2000))
        assert [each.get(60) for each in single] == list(range(2000, 2100))
        assert proxy.cuts >= 2
    ran = sorted(map(int, (tmp_path / "ran").read_text().split()))
    assert ran == list(range(2100))


def test_decorators(lview):
    @lview.remote(block=True)
    def double(x):
        return 2 * x

    assert lview.parallel(block=True)(lambda part: [2 * x for x in part])([1, 2, 3]) == [2, 4, 6]

    @lview.parallel(block=True, chunksize=2)
    def parts(x):
        return [sum(x)]

    assert double(4) == 8
    assert parts(range(5)) == [1, 5, 4]
    assert parts.map([[1, 2], [3]]) == [[3], [3]]


def test_bad_input_is_refused_at_once(lview):
    for wrong in (0, -1, 1.5, "many"):
        with pytest.raises(ValueError, match="chunksize"):
            lview.map_sync(abs, [1], chunksize=wrong)
    with pytest.raises(TypeError):
        lview.map_sync(abs)
    with pytest.raises(TypeError):
        lview.map_sync(3, [1])
    with pytest.raises(TypeError, match="retries"):
        lview.set_flags(retries=1.5)
    with pytest.raises(ValueError, match="timeout"):
        lview.set_flags(timeout=-1)
    with pytest.raises(AttributeError, match="retires"):
        lview.retires = 1
    assert isinstance(lview.map_async(abs, [1]), mpidirect.AsyncMapResult)
