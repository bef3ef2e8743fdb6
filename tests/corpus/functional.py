# -- a partial is the function
from functools import partial

def power(x, n):
    return x**n

dv.map_sync(partial(power, n=3), range(4))

# -- a partial as a helper
from functools import partial

def line(a, b, x):
    return a * x + b

steep = partial(line, 10, 1)

dv.apply_sync(lambda xs: [steep(x) for x in xs], [0, 1, 2])

# -- a partial of a partial of a lambda
from functools import partial

f = partial(partial(lambda a, b, c: (a, b, c), 1), c=3)

dv.apply_sync(lambda: f(2)), dv.apply_sync(f, 5)

# -- a partial of a module's function as a helper
from functools import partial

hexadecimal = partial(int, base=16)

dv.map_sync(lambda s: hexadecimal(s), ["ff", "10"])

# -- lru_cache
from functools import lru_cache

@lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

dv.apply_sync(fib, 80)

# -- a cached helper
from functools import lru_cache

@lru_cache(10)
def slow(x):
    return x * x

dv.apply_sync(lambda n: [slow(i % 3) for i in range(n)], 5)

# -- cache_info on the engine
from functools import cache

@cache
def f(x):
    return x + 1

def use():
    f.cache_clear()
    f(1), f(1), f(2)
    info = f.cache_info()
    return info.hits, info.misses, f.__wrapped__(5)

dv.apply_sync(use)

# -- reduce with a helper
from functools import reduce

def gcd(a, b):
    while b:
        a, b = b, a % b
    return a

dv.apply_sync(lambda xs: reduce(gcd, xs), [12, 18, 24])

# -- reduce with an operator
from functools import reduce
import operator as op

dv.apply_sync(lambda n: reduce(op.mul, range(1, n + 1), 1), 10)

# -- singledispatch
from functools import singledispatch

@singledispatch
def show(x):
    return f"thing {x}"

@show.register
def _(x: int):
    return f"int {x}"

@show.register(list)
def _(x):
    return [show(y) for y in x]

dv.apply_sync(show, [1, "a", [2]]), dv.apply_sync(lambda: show(3.5))

# -- singledispatch on a class of the prompt
from functools import singledispatch

class Celsius:
    def __init__(self, t):
        self.t = t

@singledispatch
def kelvin(x):
    return x

@kelvin.register
def _(x: Celsius):
    return x.t + 273.15

dv.map_sync(lambda x: kelvin(x), [Celsius(20), 300.0])

# -- singledispatchmethod
from functools import singledispatchmethod

class Printer:
    @singledispatchmethod
    def show(self, x):
        return "other"

    @show.register
    def _(self, x: int):
        return "int"

dv.apply_sync(lambda: [Printer().show(1), Printer().show("a")])

# -- cached_property
from functools import cached_property

def expensive(n):
    return sum(range(n))

class Data:
    def __init__(self, n):
        self.n = n

    @cached_property
    def total(self):
        return expensive(self.n)

dv.apply_sync(lambda: (lambda d: (d.total, d.total, sorted(vars(d))))(Data(10)))

# -- a cached_property that was computed there comes back
from functools import cached_property

class Data:
    @cached_property
    def total(self):
        return 7

def compute(d):
    d.total
    return d

back = dv.apply_sync(compute, Data())
vars(back), back.total

# -- total_ordering
from functools import total_ordering

@total_ordering
class Card:
    def __init__(self, n):
        self.n = n

    def __eq__(self, o):
        return self.n == o.n

    def __lt__(self, o):
        return self.n < o.n

dv.apply_sync(lambda a, b: (a >= b, a <= b, a > b, max([a, b])), Card(2), Card(5))

# -- partialmethod
from functools import partialmethod

class Cell:
    def __init__(self):
        self.alive = False

    def set(self, alive):
        self.alive = alive
        return self

    live = partialmethod(set, True)

dv.apply_sync(lambda: Cell().live())

# -- cmp_to_key
from functools import cmp_to_key

def compare(a, b):
    return (len(a) > len(b)) - (len(a) < len(b)) or (a > b) - (a < b)

dv.apply_sync(lambda ws: sorted(ws, key=cmp_to_key(compare)), ["bb", "a", "ab", "c"])

# -- itertools with helpers
from itertools import accumulate, chain, groupby, product, starmap, takewhile

def small(x):
    return x < 20

def parity(x):
    return x % 2

def use():
    return (
        list(takewhile(small, accumulate([1, 5, 9, 20]))),
        {k: list(g) for k, g in groupby(sorted(range(6), key=parity), key=parity)},
        list(starmap(pow, product([2, 3], [1, 2]))),
        list(chain.from_iterable([[1], [2, 3]])),
    )

dv.apply_sync(use)

# -- import itertools as it
import itertools as it

dv.apply_sync(lambda n: list(it.islice(it.cycle("ab"), n)) + list(it.combinations(range(3), 2)), 5)

# -- itertools.count as an argument travels
import itertools

def take(xs, n):
    return [x for x, _ in zip(xs, range(n))]

dv.apply_sync(take, range(10, 20), 3)

# -- operator's callables are the function
from operator import attrgetter, itemgetter, methodcaller

dv.map_sync(itemgetter(1), [(1, 2), (3, 4)]), dv.map_sync(methodcaller("upper"), ["a", "b"]), dv.map_sync(attrgetter("real"), [1 + 2j, 3.0])

# -- operator's callables as helpers
from operator import itemgetter

by_price = itemgetter("price")

dv.apply_sync(lambda rows: [r["name"] for r in sorted(rows, key=by_price)], [{"name": "a", "price": 3}, {"name": "b", "price": 1}])

# -- Counter, defaultdict, deque, OrderedDict, ChainMap
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque

def use(words):
    index = defaultdict(list)
    for w in words:
        index[w[0]].append(w)
    recent = deque(words, maxlen=2)
    return Counter(map(len, words)), index, recent, OrderedDict(sorted(index.items())), dict(ChainMap({"a": 1}, {"b": 2}))

dv.apply_sync(use, ["ab", "b", "a", "bcd"])

# -- a defaultdict with a factory of the prompt
from collections import defaultdict

def zero():
    return {"n": 0}

def use(words):
    d = defaultdict(zero)
    for w in words:
        d[w]["n"] += 1
    return {k: v["n"] for k, v in d.items()}

dv.apply_sync(use, "abca")

# -- a defaultdict comes back with its factory
from collections import defaultdict

def zero():
    return -1

back = dv.apply_sync(lambda: defaultdict(zero, a=1))
back["new"], dict(back)

# -- a Counter subclass of the prompt
from collections import Counter

class Histogram(Counter):
    def mode(self):
        return self.most_common(1)[0][0]

back = dv.apply_sync(lambda xs: Histogram(xs), [1, 2, 2, 3])
back.mode(), type(back) is Histogram, back

# -- heapq and bisect with keys of the prompt
import bisect
import heapq

def key(x):
    return -x

def use(xs):
    heap = [(key(x), x) for x in xs]
    heapq.heapify(heap)
    return heapq.heappop(heap), heapq.nsmallest(2, xs, key=key), bisect.bisect([1, 3, 5], 3)

dv.apply_sync(use, [3, 9, 4])

# -- methods of builtin types are the function
dv.map_sync(str.upper, ["a", "b"]), dv.map_sync("-".join, [["a", "b"], ["c"]]), dv.map_sync({"a": 1}.get, ["a", "b"])

# -- builtin functions and types are the function
dv.map_sync(len, [[1], [1, 2]]), dv.map_sync(int, ["1", "2"]), dv.map_sync(divmod, [7, 8], [3, 3]), dv.map_sync(dict, [[("a", 1)]])

# -- callables of modules are the function
import math
import numpy as np

dv.map_sync(math.hypot, [3.0, 5.0], [4.0, 12.0]), dv.map_sync(np.linalg.norm, [np.array([3.0, 4.0])]), dv.map_sync(np.sin, [0.0])

# -- a bound method of an array is the function
import numpy as np

dv.apply_sync(np.arange(4).sum), dv.apply_sync(np.array([2.0, 1.0]).tolist)

# -- a bound method of a container is the function
dv.map_sync([10, 20, 30].__getitem__, [2, 0]), dv.apply_sync("abcb".count, "b")

# -- functions made by a factory in a comprehension
def maker(k):
    return lambda x: x * k

fs = {k: maker(k) for k in range(3)}

dv.apply_sync(lambda fs: [f(7) for f in fs.values()], fs)

# -- church numerals
zero = lambda f: lambda x: x
succ = lambda n: lambda f: lambda x: f(n(f)(x))
add = lambda m: lambda n: lambda f: lambda x: m(f)(n(f)(x))
to_int = lambda n: n(lambda k: k + 1)(0)

dv.apply_sync(lambda: to_int(add(succ(succ(zero)))(succ(zero))))

# -- the Y combinator
Y = lambda f: (lambda x: f(lambda *a: x(x)(*a)))(lambda x: f(lambda *a: x(x)(*a)))

dv.map_sync(lambda n: Y(lambda self: lambda n: 1 if n == 0 else n * self(n - 1))(n), [0, 5])
