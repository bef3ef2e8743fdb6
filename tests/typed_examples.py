"""The types that a type checker finds for the public API. `make lint` checks them; nothing runs this file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from typing_extensions import assert_type

import mpidirect as ipp
from mpidirect.client.results.outputs import ExecuteReply


def halve(x: int) -> float:
    return x / 2


def a_direct_view_returns_a_list_of_values(rc: ipp.Client) -> None:
    dv = rc[:]
    assert_type(dv, ipp.DirectView[list[int]])
    assert_type(rc[::2], ipp.DirectView[list[int]])
    assert_type(rc[[0, 1]], ipp.DirectView[list[int]])
    assert_type(rc.direct_view(), ipp.DirectView[list[int]])
    assert_type(rc.broadcast_view(), ipp.BroadcastView[list[int]])
    assert_type(dv.apply_sync(halve, 1), list[float])
    assert_type(dv.apply_async(halve, 1), ipp.AsyncResult[list[float]])
    assert_type(dv.execute("a = 5"), ipp.AsyncResult[list[ExecuteReply]])
    assert_type(dv.apply_sync(ipp.Reference("f")), Any)
    assert_type(dv["a"], Any)
    with dv.temp_flags(block=True) as blocking:
        assert_type(blocking, ipp.DirectView[list[int]])


def a_view_of_one_engine_returns_the_value(rc: ipp.Client) -> None:
    first = rc[0]
    assert_type(first, ipp.DirectView[int])
    assert_type(rc.direct_view(3), ipp.DirectView[int])
    assert_type(first.apply_sync(halve, 1), float)
    assert_type(first.apply_async(halve, 1), ipp.AsyncResult[float])
    assert_type(first.execute("a = 5"), ipp.AsyncResult[ExecuteReply])
    for view in rc:
        assert_type(view, ipp.DirectView[int])


def a_load_balanced_view_returns_the_value(rc: ipp.Client) -> None:
    lview = rc.load_balanced_view()
    assert_type(lview, ipp.LoadBalancedView)
    assert_type(lview.apply_sync(halve, 1), float)
    assert_type(lview.apply_async(halve, 1), ipp.AsyncResult[float])
    assert_type(lview.set_flags(retries=2), ipp.LoadBalancedView)


def maps_return_items(rc: ipp.Client) -> None:
    for view in (rc[:], rc[0]):
        assert_type(view.map_sync(halve, range(4)), list[float])
    mapped = rc[:].map_async(halve, range(4))
    assert_type(mapped, ipp.AsyncMapResult[float])
    assert_type(mapped.get(), list[float])
    assert_type(mapped[0], float)
    assert_type(mapped[1:], list[float])
    assert_type(list(mapped), list[float])
    assert_type(rc[:].imap(halve, range(4)), Iterator[float])
    lview = rc.load_balanced_view()
    assert_type(lview.map_sync(lambda x, y: f"{x}{y}", [1], [2]), list[str])
    assert_type(lview.map_async(halve, range(4)).get(), list[float])
    assert_type(list(lview.imap(halve, range(4))), list[float])


def results_know_their_values(one: ipp.AsyncResult[float], many: ipp.AsyncResult[list[float]]) -> None:
    assert_type(one.get(), float)
    assert_type(one.result(), float)
    assert_type(one.r, float)
    assert_type(one.wait(1), bool)
    assert_type(one.wait(1, ipp.FIRST_EXCEPTION), tuple[set[Any], set[Any]])
    assert_type(one.get_dict(), dict[int, float])
    assert_type(many.get(), list[float])
    assert_type(many.get_dict(), dict[int, float])
    assert_type(many[0], float)
    assert_type(many["stdout"], Any)
    assert_type(list(many), list[float])
    assert_type(many.split(), tuple[ipp.AsyncResult[float], ...])
    assert_type(many.successful(), bool)
    assert_type(many.msg_ids, list[str])


async def results_can_be_awaited(one: ipp.AsyncResult[float], many: ipp.AsyncMapResult[float]) -> None:
    assert_type(await one, float)
    assert_type(await many, list[float])


def decorated_functions_know_their_values(rc: ipp.Client) -> None:
    @rc[:].remote(block=True)
    def everywhere() -> int:
        return 1

    @rc.load_balanced_view().remote(block=True)
    def somewhere() -> int:
        return 1

    @rc[:].remote(block=False)
    def later() -> int:
        return 1

    @rc[:].parallel(block=True)
    def part(items: list[int]) -> list[int]:
        return items

    assert_type(everywhere(), list[int])
    assert_type(somewhere(), int)
    assert_type(later(), ipp.AsyncResult[list[int]])
    assert_type(part, ipp.ParallelFunction)


def executors_return_futures(rc: ipp.Client) -> None:
    with rc.executor() as pool:
        assert_type(pool, ipp.ViewExecutor)
        assert_type(pool.submit(halve, 1), Future[float])
        assert_type(pool.map(halve, range(4)), Iterator[float])


def groups_return_a_value_for_each_task(rc: ipp.Client) -> None:
    pool = rc.split(2)
    assert_type(pool[0].apply_sync(halve, 1), list[float])
    assert_type(pool.map(halve, range(4)), list[float])
    assert_type(pool.map(halve, range(4), whole=True), list[list[float]])


def clients_answer(rc: ipp.Client) -> None:
    assert_type(rc.ids, list[int])
    assert_type(rc.history, list[str])
    assert_type(rc.outstanding, set[str])
    assert_type(rc.wait(timeout=1), bool)
    assert_type(rc.get_result(-1), ipp.AsyncResult[Any])
    assert_type(rc.resubmit(-1), ipp.AsyncHubResult[Any])
    assert_type(rc.where(), dict[int, str])


def clusters_connect_clients() -> None:
    with ipp.Cluster(n=4) as rc:
        assert_type(rc, ipp.Client)
    cluster = ipp.Cluster(n=4, engines="mpi")
    assert_type(cluster.start_and_connect_sync(), ipp.Client)
    assert_type(cluster.connect_client_sync(), ipp.Client)
    assert_type(ipp.ClusterManager().load_clusters(), dict[str, ipp.Cluster])


async def clusters_are_awaited() -> None:
    async with ipp.Cluster(n=4) as rc:
        assert_type(rc, ipp.Client)
    cluster = ipp.Cluster(n=4)
    assert_type(await cluster.start_cluster(), ipp.Cluster)
    assert_type(await cluster.start_and_connect(), ipp.Client)


def decorators_keep_the_type_of_a_function() -> None:
    @ipp.require("numpy")
    def required(x: int) -> float:
        return x / 2

    @ipp.interactive
    def interactive(x: int) -> float:
        return x / 2

    assert_type(interactive(1), float)
    assert_type(required(1), float)
