# -- a generator that uses a helper
def step(x):
    return x * 2

def doubling(x, n):
    for _ in range(n):
        yield x
        x = step(x)

dv.apply_sync(lambda: list(doubling(1, 6)))

# -- yield from
def inner(n):
    yield from range(n)

def outer(n):
    for i in range(n):
        yield from inner(i)

dv.apply_sync(lambda n: list(outer(n)), 4)

# -- the value of yield from
def averager():
    total = count = 0
    while True:
        x = yield
        if x is None:
            return total / count
        total += x
        count += 1

def collect(results):
    while True:
        results.append((yield from averager()))

def run(batches):
    results = []
    c = collect(results)
    next(c)
    for batch in batches:
        for x in batch:
            c.send(x)
        c.send(None)
    return results

dv.apply_sync(run, [[1, 2, 3], [10, 20]])

# -- a generator that is thrown into
def resilient():
    seen = []
    while True:
        try:
            seen.append((yield len(seen)))
        except ValueError as e:
            seen.append(str(e))
        except StopIteration:
            return

def use():
    g = resilient()
    return [next(g), g.send("a"), g.throw(ValueError("b")), g.send("c")]

dv.apply_sync(use)

# -- a finally that runs at close
def source(log):
    try:
        yield 1
        yield 2
    finally:
        log.append("closed")

def first(log):
    g = source(log)
    x = next(g)
    g.close()
    return x, log

dv.apply_sync(first, [])

# -- a generator expression with a helper as argument of a helper
def f(x):
    return x + 0.5

def total(xs):
    return sum(xs)

dv.apply_sync(lambda n: total(f(i) for i in range(n)), 4)

# -- a chain of generators, as a pipeline
def read(lines):
    for line in lines:
        yield line.strip()

def without_comments(lines):
    return (line for line in lines if line and not line.startswith("#"))

def numbers(lines):
    for line in lines:
        yield from map(int, line.split())

dv.apply_sync(lambda text: sum(numbers(without_comments(read(text.splitlines())))), "# a\n1 2\n\n 3 4 # no\n".replace("# no", ""))

# -- a recursive generator
def permutations(xs):
    if not xs:
        yield ()
    for i, x in enumerate(xs):
        for rest in permutations(xs[:i] + xs[i + 1 :]):
            yield (x, *rest)

dv.apply_sync(lambda s: ["".join(p) for p in permutations(s)], "abc")

# -- a tree with a generator as __iter__
class Tree:
    def __init__(self, value, left=None, right=None):
        self.value, self.left, self.right = value, left, right

    def __iter__(self):
        if self.left:
            yield from self.left
        yield self.value
        if self.right:
            yield from self.right

def build(xs):
    if not xs:
        return None
    m = len(xs) // 2
    return Tree(xs[m], build(xs[:m]), build(xs[m + 1 :]))

dv.apply_sync(lambda xs: list(build(sorted(xs))), [5, 2, 8, 1, 9])

# -- a tree of the prompt is summed on the engines
class Tree:
    def __init__(self, value, *children):
        self.value, self.children = value, children

    def walk(self):
        yield self.value
        for child in self.children:
            yield from child.walk()

tree = Tree(1, Tree(2, Tree(3)), Tree(4))

dv.apply_sync(lambda t: sum(t.walk()), tree)

# -- prime sieve of generators
from itertools import count, islice

def sieve(numbers):
    p = next(numbers)
    yield p
    yield from sieve(n for n in numbers if n % p)

dv.apply_sync(lambda n: list(islice(sieve(count(2)), n)), 8)

# -- a generator as the argument cannot be sent, and the error says so
# error: generator
squares = (i * i for i in range(5))

dv.apply_sync(sum, squares)

# -- a generator as the result cannot be sent, and the error says so
# error: generator
def squares(n):
    return (i * i for i in range(n))

type(dv.apply_sync(squares, 3)).__name__

# -- enumerate, zip, reversed as results are made lists there
def pairs(a, b):
    return list(zip(a, reversed(b))), list(enumerate(a, 1))

dv.apply_sync(pairs, [1, 2], [3, 4])

# -- an iterator class of the prompt
class Countdown:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if self.n == 0:
            raise StopIteration
        self.n -= 1
        return self.n

dv.map_sync(lambda n: list(Countdown(n)), [1, 3])

# -- an iterator with a sentinel
def until(xs, end):
    it = iter(xs)
    return list(iter(lambda: next(it), end))

dv.apply_sync(until, [1, 2, 0, 3], 0)
