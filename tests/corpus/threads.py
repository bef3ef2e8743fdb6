# -- a thread pool with a helper
from concurrent.futures import ThreadPoolExecutor

def helper(x):
    return x * x

def use(n):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(helper, range(n)))

dv.apply_sync(use, 5)

# -- a thread pool with a lambda that uses a helper and a module
from concurrent.futures import ThreadPoolExecutor, as_completed
import math

def shift(x):
    return x + 1

def use(n):
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(lambda i=i: math.floor(shift(i) / 2)) for i in range(n)]
        return sorted(f.result() for f in as_completed(futures))

dv.apply_sync(use, 5)

# -- threads with a lock
import threading

class Counter:
    def __init__(self):
        self.n, self.lock = 0, threading.Lock()

    def add(self, k):
        for _ in range(k):
            with self.lock:
                self.n += 1

def use():
    c = Counter()
    threads = [threading.Thread(target=c.add, args=(100,)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return c.n

dv.apply_sync(use)

# -- a subclass of Thread
import threading

def compute(x):
    return x * 3

class Worker(threading.Thread):
    def __init__(self, x):
        super().__init__(daemon=True)
        self.x = x

    def run(self):
        self.result = compute(self.x)

def use(xs):
    workers = [Worker(x) for x in xs]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    return [w.result for w in workers]

dv.apply_sync(use, [1, 2, 3])

# -- a queue between a producer and a consumer
import queue
import threading

def transform(x):
    return f"<{x}>"

def producer(q, n):
    for i in range(n):
        q.put(i)
    q.put(None)

def use(n):
    q, out = queue.Queue(), []
    threading.Thread(target=producer, args=(q, n)).start()
    while (x := q.get()) is not None:
        out.append(transform(x))
    return out

dv.apply_sync(use, 3)

# -- a callback of a future
from concurrent.futures import ThreadPoolExecutor

def name(x):
    return f"done {x}"

def use():
    log = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int, "5").add_done_callback(lambda f: log.append(name(f.result())))
    return log

dv.apply_sync(use)

# -- an exception in a thread pool
# raises: TooBig
from concurrent.futures import ThreadPoolExecutor

class TooBig(Exception):
    pass

def check(x):
    if x > 2:
        raise TooBig(f"{x} > 2")
    return x

def use(xs):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(check, xs))

dv.apply_sync(use, [1, 2, 3])

# -- a timer
import threading

def helper():
    return "rang"

def use():
    rang, result = threading.Event(), []

    def ring():
        result.append(helper())
        rang.set()

    threading.Timer(0.01, ring).start()
    return rang.wait(10), result

dv.apply_sync(use)

# -- thread-local data
import threading

def use():
    local = threading.local()
    seen = []

    def work(x):
        local.x = x
        seen.append(twice(local))

    def twice(local):
        return local.x * 2

    for x in (1, 2):
        t = threading.Thread(target=work, args=(x,))
        t.start()
        t.join()
    return seen, hasattr(local, "x")

dv.apply_sync(use)

# -- a thread that outlives the call still finds the helper
import threading
import time

def helper():
    return "late"

def start():
    global box
    box = {"go": threading.Event(), "done": threading.Event()}

    def later():
        box["go"].wait(10)
        box["result"] = [helper() for _ in range(1)]
        box["done"].set()

    threading.Thread(target=later).start()

def finish():
    box["go"].set()
    box["done"].wait(10)
    return box["result"]

dv.apply_sync(start)
result = dv.apply_sync(finish)
result

# -- sched, with functions of the prompt
import sched
import time

def tell(log, x):
    log.append(x)

def use():
    log, s = [], sched.scheduler(time.monotonic, time.sleep)
    s.enter(0.02, 1, tell, (log, "second"))
    s.enter(0.01, 1, lambda: tell(log, "first"))
    s.run()
    return log

dv.apply_sync(use)

# -- signal handlers, atexit and excepthooks name functions of the prompt
import sys

def name(kind):
    return kind.__name__

def hook(kind, value, traceback):
    return name(kind)

def use():
    before, sys.excepthook = sys.excepthook, hook
    try:
        return sys.excepthook(KeyError, None, None)
    finally:
        sys.excepthook = before

dv.apply_sync(use)
