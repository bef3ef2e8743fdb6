"""Work of users: each function is one piece of work."""

from __future__ import annotations

import time

import numpy as np

from mpidirect import Client

from .testbed import Testbed

MAX_PENDING = 200  # results that are checked later


def call(bed: Testbed) -> None:
    targets, x = bed.some(), bed.source.random()
    bed.expect("call", bed.client[targets].apply_async(lambda x: x * 2, x), [x * 2] * len(targets))


def many(bed: Testbed) -> None:
    view = bed.client
    for _ in range(bed.source.randint(1, 50)):
        engine, k = bed.source.choice(bed.near.ids), bed.source.randrange(10**6)
        size = bed.source.choice([1, 1, 100, 20_000])
        result = view[engine].apply_async(lambda k, n: numpy.full(n, k), k, size)  # noqa: F821
        bed.pending.append(("many", result, np.full(size, k)))
    bed.drain(MAX_PENDING)


def push(bed: Testbed) -> None:
    targets, name = bed.some(), f"name{bed.source.randrange(5)}"
    value = np.arange(bed.source.choice([3, 1000, 300_000])) + bed.source.randrange(100)
    bed.expect("push", bed.client[targets].push({name: value}, block=False), [None] * len(targets))
    for engine in targets:
        bed.names[engine][name] = value


def pull(bed: Testbed) -> None:
    name = f"name{bed.source.randrange(5)}"
    targets = [k for k in bed.some() if name in bed.names[k]]
    if targets:
        result = bed.client[targets].pull(name, block=False)
        bed.expect("pull", result, [bed.names[k][name] for k in targets])


def scatter(bed: Testbed) -> None:
    targets, data = bed.some(), np.arange(bed.source.randint(1, 200_000))
    view = bed.client[targets]
    bed.expect("scatter", view.scatter("part", data, block=False), [None] * len(targets))
    bed.expect("gather", view.gather("part", block=False), data)


def map(bed: Testbed) -> None:
    data = [bed.source.randrange(1000) for _ in range(bed.source.randint(1, 50))]
    bed.expect("map", bed.client[:].map_async(abs, data), data)


def balanced(bed: Testbed) -> None:
    data = [bed.source.randrange(1000) for _ in range(bed.source.randint(1, 50))]
    bed.expect("balanced", bed.client.load_balanced_view().map_async(abs, data), data)


def collective(bed: Testbed) -> None:
    bed.together()


def another_client(bed: Testbed) -> None:
    """Close a client before its result arrives; fetch the result by another client."""
    targets, k = bed.some(), bed.source.random()
    with Client(bed.path) as leaving:
        result = leaving[targets].apply_async(lambda k: (time.sleep(0.05), k)[1], k)
        leaving.queue_status()
        id = result.msg_ids[0].partition(":")[0]
    ends = [reply.failure for reply in result._calls[0].replies.values()]
    delivered = [end for end in ends if end is None or end.ename != "ClientClosed"]
    bed.lost += [f"another_client: {end.ename}: {end.evalue}" for end in delivered if end is not None]
    if not delivered:
        with Client(bed.path) as coming:
            wanted = k if len(targets) == 1 else [k] * len(targets)
            bed.expect("another client", coming.get_result(id), wanted)


WORK = {
    each.__name__: each
    for each in (call, many, push, pull, scatter, map, balanced, collective, another_client)
}
