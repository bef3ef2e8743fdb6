# -- asyncio.run with helpers
import asyncio

def helper(x):
    return x * 2

async def work(x):
    await asyncio.sleep(0)
    return helper(x)

dv.apply_sync(lambda x: asyncio.run(work(x)), 4)

# -- gather
import asyncio

async def fetch(n):
    await asyncio.sleep(0.001 * (3 - n))
    return n * n

async def main(n):
    return await asyncio.gather(*(fetch(i) for i in range(n)))

dv.apply_sync(lambda: asyncio.run(main(3)))

# -- an async generator and an async comprehension
import asyncio

async def ticks(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i

def even(x):
    return x % 2 == 0

async def main(n):
    return [t async for t in ticks(n) if even(t)], {t: t + 1 async for t in ticks(2)}, [await square(x) for x in range(3)]

async def square(x):
    return x * x

dv.apply_sync(lambda: asyncio.run(main(5)))

# -- async with and async for classes
import asyncio

class Source:
    def __init__(self, n):
        self.n = n

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        self.closed = True

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.n == 0:
            raise StopAsyncIteration
        self.n -= 1
        return self.n

async def main():
    async with Source(3) as s:
        got = [x async for x in s]
    return got, s.closed

dv.apply_sync(lambda: asyncio.run(main()))

# -- asynccontextmanager
import asyncio
from contextlib import asynccontextmanager

@asynccontextmanager
async def session(name):
    await asyncio.sleep(0)
    yield f"session {name}"

async def main():
    async with session("a") as s:
        return s

dv.apply_sync(lambda: asyncio.run(main()))

# -- tasks, a queue and a semaphore
import asyncio

def cost(x):
    return x + 100

async def worker(q, out):
    while True:
        x = await q.get()
        out.append(cost(x))
        q.task_done()

async def main(n):
    q, out = asyncio.Queue(), []
    tasks = [asyncio.create_task(worker(q, out)) for _ in range(2)]
    for i in range(n):
        q.put_nowait(i)
    await q.join()
    for t in tasks:
        t.cancel()
    return sorted(out)

dv.apply_sync(lambda: asyncio.run(main(5)))

# -- wait_for that times out
import asyncio

async def slow():
    await asyncio.sleep(10)

async def main():
    try:
        await asyncio.wait_for(slow(), 0.01)
    except asyncio.TimeoutError:
        return "too slow"

dv.apply_sync(lambda: asyncio.run(main()))

# -- an exception in a task
# raises: Broken
import asyncio

class Broken(Exception):
    pass

async def bad(x):
    raise Broken(f"at {x}")

async def main():
    await asyncio.gather(bad(1))

dv.apply_sync(lambda: asyncio.run(main()))

# -- run_in_executor with a helper
import asyncio

def blocking(x):
    return helper(x) + 1

def helper(x):
    return x * 10

async def main():
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*[loop.run_in_executor(None, blocking, i) for i in range(3)])

dv.apply_sync(lambda: asyncio.run(main()))

# -- callbacks of a loop
import asyncio

def note(log, x):
    log.append(x)

async def main():
    log = []
    loop = asyncio.get_running_loop()
    loop.call_soon(note, log, "soon")
    loop.call_soon(lambda: note(log, "lambda"))
    await asyncio.sleep(0.01)
    return log

dv.apply_sync(lambda: asyncio.run(main()))

# -- a coroutine that is driven by hand
def steps(coroutine):
    seen = []
    try:
        while True:
            seen.append(coroutine.send(None))
    except StopIteration as e:
        return seen, e.value

class Pause:
    def __await__(self):
        yield "paused"
        return 5

async def main():
    return await Pause() + await Pause()

dv.apply_sync(lambda: steps(main()))

# -- an async method and a decorator for coroutines
import asyncio
import functools

def synchronous(f):
    @functools.wraps(f)
    def wrapper(*args):
        return asyncio.run(f(*args))
    return wrapper

class Api:
    def __init__(self, base):
        self.base = base

    @synchronous
    async def get(self, x):
        await asyncio.sleep(0)
        return f"{self.base}/{await self.name(x)}"

    async def name(self, x):
        return f"item{x}"

dv.map_sync(Api("http").get, [1, 2])
