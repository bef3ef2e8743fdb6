"""Short programs like those of ipyparallel's documents; the value of the last line is compared.

They have the names of `snippets.py`.
"""

from __future__ import annotations

SCRIPTS = [
    # The tutorial: a function by `map` and by decorators.
    """
@dv.remote(block=True)
def getpid():
    import os
    return os.getpid()

@dv.parallel(block=True)
def double(part):
    return [2 * x for x in part]

pids = getpid()
(len(set(pids)), double(list(range(8))), double.map is not None, getpid.__name__)
""",
    # Monte Carlo: the same seed on all engines, a part for each engine, a reduction here.
    """
dv.execute('import random', block=True)
dv.scatter('seeds', list(range(8)), block=True)
dv.execute('means = [random.Random(s).random() for s in seeds]', block=True)
means = dv.gather('means', block=True)
(len(means), round(sum(means), 9))
""",
    # Word count.
    """
texts = ['a b a', 'b c', 'a', 'c c']
def count(text):
    found = {}
    for word in text.split():
        found[word] = found.get(word, 0) + 1
    return found
total = {}
for found in dv.map_sync(count, texts):
    for word, n in found.items():
        total[word] = total.get(word, 0) + n
sorted(total.items())
""",
    # References: objects that only engines have.
    """
code = 'class Counter:\\n    n = 0\\n    def add(self, k):\\n        self.n += k\\n        return self.n\\n'
dv.execute(code + 'c = Counter()', block=True)
add = ipp.Reference('c.add')
dv.apply_sync(add, 2)
def call(counter, k):
    return counter.add(k)
dv.apply_sync(call, ipp.Reference('c'), 5)
""",
    # `require` with modules and with functions.
    """
@ipp.require('os.path', 'math')
def f(x):
    return math.sqrt(x), os.path.basename('/a/b')
(dv.apply_sync(f, 4), lv.apply_sync(f, 9))
""",
    # `sync_imports`, with a name and with `as`.
    """
with dv.sync_imports(quiet=True):
    import math
    from os.path import join
dv.apply_sync(lambda: (math.floor(2.5), join('a', 'b')))
""",
    # Dependencies: a graph of tasks by `after`, and times that prove the order.
    """
import random
jobs, results = {}, {}
graph = {'a': [], 'b': ['a'], 'c': ['a'], 'd': ['b', 'c']}
for node, needs in graph.items():
    with lv.temp_flags(after=[results[need] for need in needs], block=False):
        results[node] = lv.apply(slow, node)
rc.wait(results.values())
ordered = all(results[n].metadata.started >= results[m].metadata.completed for n in graph for m in graph[n])
([results[n].get() for n in graph], ordered)
""",
    # The metadata of a task.
    """
ar = lv.apply_async(report, 7)
ar.get()
ar.wait_for_output()
md = ar.metadata
times = md['submitted'] <= md['started'] <= md['completed']
(md['status'], md.engine_id in rc.ids, md.stdout, times, md.msg_id == ar.msg_ids[0], md['error'])
""",
    # The metadata of several engines, and the client's.
    """
ar = dv.apply_async(square, 3)
ar.get()
entries = [rc.metadata[msg_id] for msg_id in ar.msg_ids]
([m['engine_id'] for m in ar.metadata], ar.engine_id, len(entries) > 0)
""",
    # Progress in a loop.
    """
ar = lv.map_async(slow, range(12))
seen = []
while not ar.ready():
    ar.wait(0.02)
    seen.append(ar.progress)
(ar.progress, seen == sorted(seen), len(ar), ar.get()[-1])
""",
    # wait_interactive.
    """
import contextlib, io
ar = dv.map_async(slow, range(8))
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    value = ar.wait_interactive(interval=0.05, timeout=20)
(value, ar.ready(), ar.get())
""",
    # A custom loop over results that come in any order (customresults.py).
    """
pending = set(lv.map(slow, range(6), block=False).msg_ids)
n = 0
while pending and n < 200:
    n += 1
    try:
        rc.wait(pending, 0.1)
    except ipp.TimeoutError:
        pass
    finished = pending.difference(rc.outstanding)
    pending = pending.difference(finished)
(len(pending), n < 200)
""",
    # Several threads with one client.
    """
import threading
found = {}
def work(k):
    found[k] = rc[k].apply_sync(square, k), rc.load_balanced_view().map_sync(square, range(k, k + 3))
threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
for t in threads: t.start()
for t in threads: t.join()
sorted(found.items())
""",
    # asyncio.
    """
async def main():
    results = dv.apply_async(square, 2), lv.apply_async(square, 3)
    a, b = await asyncio.gather(*map(asyncio.wrap_future, results))
    rest = [await asyncio.wrap_future(f) for f in [e0.apply_async(square, k) for k in range(3)]]
    return a, b, rest
asyncio.run(main())
""",
    # `await` of a result itself.
    """
async def main():
    return await dv.apply_async(square, 2)
asyncio.run(main())
""",
    # concurrent.futures: as_completed, callbacks, exceptions.
    """
from concurrent.futures import as_completed
pool = rc.load_balanced_view().executor
futures = {pool.submit(pow, 2, k): k for k in range(5)}
sorted((futures[f], f.result()) for f in as_completed(futures, timeout=20))
""",
    # Engines' errors: a CompositeError's parts, one traceback.
    """
def check(k):
    if k % 2:
        raise ValueError(f'odd: {k}')
    return k
ar = dv.map_async(check, range(4))
try:
    ar.get()
except ipp.CompositeError as e:
    names = sorted((entry[0], entry[1]) for entry in e.elist)
(names, [x if isinstance(x, int) else type(x).__name__ for x in ar.get(return_exceptions=True)])
""",
    # The queues of busy engines.
    """
dv.wait(timeout=5)
slow_ones = dv.apply_async(time.sleep, 0.5)
rest = [dv.apply_async(square, k) for k in range(3)]
time.sleep(0.2)
status = rc.queue_status(targets=[0, 1])
rc.wait([slow_ones, *rest])
sorted(k for k in status if k != 'unassigned')
""",
    # Aborted tasks.
    """
busy = e0.apply_async(time.sleep, 0.6)
waiting = [e0.apply_async(square, k) for k in range(3)]
rc.abort(waiting, block=True)
kinds = []
for ar in waiting:
    try:
        kinds.append(ar.get(10))
    except ipp.TaskAborted as e:
        kinds.append(type(e).__name__)
busy.get()
kinds
""",
    # Magics in a cell.
    """
from IPython.core.interactiveshell import InteractiveShell
import contextlib, io
ip = InteractiveShell.instance()
dv.activate()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    ip.run_line_magic('px', 'magic_value = 6 * 7')
    ip.run_cell_magic('px', '--targets 1::2', 'magic_value = 1')
    ip.run_line_magic('autopx', '')
    ip.run_cell('magic_value += 1')
    ip.run_line_magic('autopx', '')
dv['magic_value']
""",
    # %%px --local, --noblock, --name, and %pxresult.
    """
from IPython.core.interactiveshell import InteractiveShell
import contextlib, io
ip = InteractiveShell.instance()
dv.activate()
out = io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
    ip.run_cell_magic('px', '--local', 'both = 5')
    ip.run_cell_magic('px', '--noblock -o later', 'late = both + 1')
    ip.user_ns['later'].get()
    ip.run_line_magic('pxresult', '')
(ip.user_ns['both'], dv['late'], type(ip.user_ns['later']).__name__)
""",
    # A database of tasks: labels, queries, results of the past.
    """
with lv.temp_flags(label='study'):
    ars = [lv.apply_async(square, k) for k in range(3)]
rc.wait(ars)
found = rc.db_query({'label': 'study'}, keys=['msg_id', 'label', 'completed'])
again = rc.get_result([ar.msg_ids[0] for ar in ars], block=True)
(sorted({r['label'] for r in found}), again.get() if hasattr(again, 'get') else again)
""",
    # Large arrays by several ways.
    """
import numpy as np
A = np.arange(100000.0).reshape(100, 1000)
dv.scatter('A', A, block=True)
shapes = dv.apply_sync(lambda x: x.shape, ipp.Reference('A'))
back = dv.gather('A', block=True)
dv.push({'B': A}, block=True)
(shapes, bool((back == A).all()), dv.apply_sync(lambda: float(B.sum())))
""",
    # A closure, with cloudpickle.
    """
dv.use_cloudpickle()
def adder(n):
    return lambda x: x + n
lv.map_sync(adder(10), range(4))
""",  # publish_data.
    """
def publish(package):
    import importlib, time
    importlib.import_module(package + '.datapub').publish_data({'step': 3})
    time.sleep(0.3)
    return 1
ar = e0.apply_async(publish, ipp.__name__)
ar.get()
(ar.data, dv.apply_async(square, 1).data)
""",
    # Results as they arrive.
    """
ar = lv.map(slow, range(6), ordered=False, block=False)
first = next(iter(ar))
(first in range(6), sorted(ar.get()))
""",
    # Tasks that run again.
    """
ids = [lv.apply_async(square, k).msg_ids[0] for k in range(3)]
rc.wait(ids, timeout=20)
rc.resubmit(ids).get()
""",
    # A thread that reads results.
    """
rc.spin_thread(0.05)
ar = dv.apply_async(slow, 3)
n = 0
while not ar.ready() and n < 200:
    time.sleep(0.05)
    n += 1
rc.stop_spin_thread()
(ar.ready(), ar.get())
""",
    # A dependency that does not end in time.
    """
first = lv.apply_async(time.sleep, 1)
with lv.temp_flags(after=first, timeout=0.05):
    second = lv.apply_async(square, 1)
try:
    value = second.get(20)
except Exception as e:
    value = e.ename if hasattr(e, 'ename') else type(e).__name__
value
""",
    # A broadcast view.
    """
bv = rc.broadcast_view()
bv['z'] = 3
parts = bv.scatter('q', list(range(8))).get()
(bv['z'], bv.apply_sync(square, 2), bv.gather('q').get())
""",
    # An executor in asyncio.
    """
async def main():
    with rc.load_balanced_view().executor as pool:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[loop.run_in_executor(pool, square, k) for k in range(4)])
asyncio.run(main())
""",
    # Functions that look for names on the engines, and functions that need others.
    """
@ipp.depend(lambda n: n > 4, 5)
def g(x):
    return x
@ipp.require(square)
def h(x):
    return square(x)
(lv.apply_sync(g, 1), lv.map_sync(h, range(3)))
""",
]
