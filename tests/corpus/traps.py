# -- a class attribute that is an instance of the class
class Point:
    def __init__(self, x):
        self.x = x

Point.ORIGIN = Point(0)

back = dv.apply_sync(lambda: Point.ORIGIN)
back.x, type(back) is Point, dv.apply_sync(lambda: type(Point.ORIGIN) is Point)

# -- classes that refer to each other by attributes
class Egg:
    pass

class Hen:
    lays = Egg

Egg.becomes = Hen

dv.apply_sync(lambda: (Hen.lays.becomes is Hen, type(Hen.lays.becomes()).__name__)), type(dv.apply_sync(Hen)) is Hen

# -- two functions of the same name at once
def f(x):
    return x + 1

old = f

def f(x):
    return old(x) * 10

dv.apply_sync(lambda: ([f(1) for _ in range(1)], old(1)))

# -- two classes of the same name at once
class Thing:
    version = 1

Old = Thing

class Thing:
    version = 2

dv.apply_sync(lambda: (Old.version, Thing.version, Old is Thing, Old().version))

# -- an instance of a class that was redefined
class Thing:
    version = 1

x = Thing()

class Thing:
    version = 2

dv.apply_sync(lambda x: (x.version, isinstance(x, Thing)), x)

# -- a class that derives from its former self
class Tool:
    def use(self):
        return ["old"]

class Tool(Tool):
    def use(self):
        return ["new", *super().use()]

dv.apply_sync(lambda: Tool().use())

# -- a dataclass that is defined on the engine
def work(x):
    from dataclasses import dataclass

    @dataclass
    class Result:
        value: int

    return Result(x * 2)

back = dv.apply_sync(work, 4)
back.value, repr(back)

# -- an enum and a named tuple that are defined on the engine
def work():
    from enum import Enum
    from typing import NamedTuple

    class State(Enum):
        ON = 1

    class Row(NamedTuple):
        state: State

    return Row(State.ON)

back = dv.apply_sync(work)
back.state.name, back._fields, back == (back.state,)

# -- an exception class that is defined on the engine
# raises: Local
def work():
    class Local(Exception):
        pass

    raise Local("only here")

dv.apply_sync(work)

# -- an instance with a lambda and a bound method as attributes
def helper(x):
    return x + 1

class Callbacks:
    def __init__(self):
        self.f = lambda x: helper(x) * 2
        self.g = self.double

    def double(self, x):
        return 2 * x

c = Callbacks()

dv.apply_sync(lambda c: (c.f(1), c.g(2), c.g.__self__ is c), c)

# -- a set and a dict of frozen instances
from dataclasses import dataclass

@dataclass(frozen=True)
class Key:
    a: int

back = dv.apply_sync(lambda: ({Key(1), Key(2)}, {Key(3): "three"}))
Key(2) in back[0], back[1][Key(3)], back

# -- instances whose hash needs their state, in a cycle
class Node:
    def __init__(self, name):
        self.name, self.links = name, {}

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return self.name == other.name

def ring():
    a, b = Node("a"), Node("b")
    a.links["b"], b.links["a"] = b, a
    return a

back = dv.apply_sync(ring)
back.links["b"].links["a"] is back, back == Node("a")

# -- a metaclass with __prepare__ and class arguments
class Ordered(type):
    @classmethod
    def __prepare__(mcls, name, bases, **kw):
        return {"made_by": "prepare"}

    def __new__(mcls, name, bases, space, prefix=""):
        return super().__new__(mcls, name, bases, dict(space))

    def __init__(cls, name, bases, space, prefix=""):
        super().__init__(name, bases, space)
        cls.prefix = prefix

class Table(metaclass=Ordered, prefix="t_"):
    column = 1

dv.apply_sync(lambda: (Table.made_by, Table.prefix, type(Table) is Ordered))

# -- a metaclass that derives from ABCMeta
from abc import ABCMeta, abstractmethod

class Meta(ABCMeta):
    def make(cls, *args):
        return cls(*args)

class Base(metaclass=Meta):
    @abstractmethod
    def f(self): ...

class Impl(Base):
    def f(self):
        return "f"

back = dv.apply_sync(lambda: Impl.make())
back.f(), isinstance(back, Base), type(type(back)) is Meta

# -- __set_name__ and an attribute per class
class Column:
    def __set_name__(self, owner, name):
        self.name = f"{owner.__name__}.{name}"

class Table:
    id = Column()
    value = Column()

dv.apply_sync(lambda: [c.name for c in (Table.id, Table.value)])

# -- a property by property(), a partial and an instance as class attributes
from functools import partial

class Adder:
    def __init__(self, k):
        self.k = k

    def __call__(self, x):
        return self.k + x

def raw(a, b):
    return a * b

class Ops:
    triple = staticmethod(partial(raw, 3))
    add = Adder(10)
    size = property(lambda self: len(self.items()))

    def items(self):
        return [self.triple(1), self.add(1)]

dv.apply_sync(lambda: (Ops().items(), Ops().size))

# -- __getnewargs_ex__ and __reduce_ex__
class Unit:
    def __new__(cls, *, symbol):
        self = super().__new__(cls)
        self.symbol = symbol
        return self

    def __getnewargs_ex__(self):
        return (), {"symbol": self.symbol}

class Custom:
    def __reduce_ex__(self, protocol):
        return make_custom, (5,)

def make_custom(n):
    c = Custom()
    c.n = n
    return c

dv.apply_sync(lambda: (Unit(symbol="m"), make_custom(5)))

# -- slots with a state of one's own
class Compact:
    __slots__ = ("a", "cache", "__weakref__")

    def __init__(self, a):
        self.a, self.cache = a, "full"

    def __getstate__(self):
        return (self.a,)

    def __setstate__(self, state):
        (self.a,), self.cache = state, "full"

dv.apply_sync(lambda c: Compact(c.a + 1), Compact(1))

# -- an instance without __init__ being called
class Strict:
    def __init__(self, must):
        if must != "yes":
            raise ValueError("no")
        self.must = must

dv.apply_sync(lambda s: s, Strict("yes"))

# -- a hundred helpers in a chain
for k in range(100):
    exec(f"def step{k}(x):\n    return [step{k - 1}(x) for _ in range(1)][0] + 1" if k else "def step0(x):\n    return x")

dv.apply_sync(lambda x: step99(x), 1)

# -- a helper found by the module __main__
import sys

def helper(x):
    return x + 5

def use(x):
    import __main__
    return __main__.helper(x), getattr(sys.modules["__main__"], "helper")(x), helper(0)

dv.apply_sync(use, 1)

# -- helpers by globals()
def helper(x):
    return x + 7

def use(x):
    return globals()["helper"](x) if "helper" in globals() else helper(x)

dv.apply_sync(use, 1)

# -- a function's own __globals__
def helper():
    return 3

def use():
    return use.__globals__ is helper.__globals__, use.__globals__ is globals(), helper()

dv.apply_sync(use)

# -- the engine's names in a function of the prompt, also in nested code
dv.execute("table = {'a': 1}; def_count = 2")

def use(keys):
    return [table.get(k, def_count) for k in keys], (lambda: def_count)(), sorted(keys, key=lambda k: table.get(k, 0))

dv.apply_sync(use, ["a", "b"])

# -- a name that is the engines' in one call and the prompt's in the next
# once
dv.execute("def f(x): return 'engine'")
first = dv.apply_sync(lambda: [f(0) for _ in range(1)])
dv.execute("del f")

def f(x):
    return "prompt"

first, dv.apply_sync(lambda: [f(0) for _ in range(1)])

# -- a name that the function itself makes global, and reads in nested code
def use():
    global made
    made = 5
    return [made + k for k in range(2)], (lambda: made)()

dv.apply_sync(use)

# -- get_type_hints of a class with future annotations
from __future__ import annotations

from typing import get_type_hints

class Part:
    pass

class Whole:
    part: Part
    n: int

dv.apply_sync(lambda: (get_type_hints(Whole)["part"] is Part, get_type_hints(Whole)["n"]))

# -- a context manager, a generator and a closure at once
from contextlib import contextmanager

def log(entries, text):
    entries.append(text)

def tracer(entries):
    @contextmanager
    def trace(name):
        log(entries, f"> {name}")
        yield lambda text: log(entries, f"  {text}")
        log(entries, f"< {name}")
    return trace

def use():
    entries = []
    trace = tracer(entries)
    with trace("a") as say:
        list(say(str(k)) for k in range(2))
    return entries

dv.apply_sync(use)

# -- helpers called from numpy, sorted, re, heapq and functools at once
import functools
import heapq
import re

import numpy as np

def f(x):
    return -x

def use():
    return (
        sorted([1, 2], key=lambda x: f(x)),
        np.vectorize(lambda x: f(x))(np.arange(2)),
        re.sub("a", lambda m: str(f(1)), "ba"),
        heapq.nlargest(1, [1, 2], key=lambda x: f(x)),
        functools.reduce(lambda a, b: a + f(b), [1, 2]),
        list(map(lambda x: f(x), [1])),
        list(filter(lambda x: f(x) < 0, [1, -1])),
        max([1, 2], key=lambda x: f(x)),
    )

dv.apply_sync(use)

# -- a helper that is a generator function behind a decorator
import functools

def as_list(f):
    @functools.wraps(f)
    def wrapper(*args):
        return list(f(*args))
    return wrapper

def twice(x):
    return 2 * x

@as_list
def doubled(xs):
    for x in xs:
        yield twice(x)

dv.apply_sync(lambda: doubled([1, 2])), dv.apply_sync(doubled, [3])

# -- one function with different arguments, many times
def helper(x):
    return x * x

def f(x, scale=1):
    return sum(helper(k) for k in range(x)) * scale

[dv.apply_sync(f, k, scale=k) for k in range(4)], dv.apply_sync(f, 3)

# -- the same helper in functions of several calls
def helper(x):
    return x + 1

a = dv.apply_sync(lambda: [helper(1) for _ in range(1)])
b = dv.apply_sync(lambda: {helper(2) for _ in range(1)})
c = dv.map_sync(lambda x: helper(x), [3])
a, b, c

# -- an argument that is a function with the same helper as the function
def helper(x):
    return x * 3

def outer(f, x):
    return f(helper(x))

dv.apply_sync(outer, lambda x: helper(x) + 1, 2)

# -- a pushed function follows its helper's redefinition when it is pushed again
def helper():
    return 1

def f():
    return [helper() for _ in range(1)]

dv["f"] = f
first = dv["f()"]

def helper():
    return 2

dv["f"] = f
first, dv["f()"]

# -- the results of two engines' classes meet in one list
class Box:
    def __init__(self, x):
        self.x = x

def pack(x):
    return Box(x)

boxes = dv.map_sync(pack, range(4))
[b.x for b in boxes], {type(b) for b in boxes} == {Box}

# -- a partial of a bound method of an instance of the prompt
from functools import partial

class Model:
    def __init__(self, a):
        self.a = a

    def predict(self, x, y):
        return self.a * x + offset(y)

def offset(y):
    return y / 2

dv.map_sync(partial(Model(3).predict, y=4), [1, 2])

# -- a class is used only as an annotation, a default and in isinstance
class Mode:
    pass

def f(x: Mode = None, kinds=(Mode, int)):
    return isinstance(x, Mode), isinstance(3, kinds)

dv.apply_sync(f, Mode()), dv.apply_sync(lambda: f())

# -- the qualified name of a nested class is known there
from dataclasses import dataclass

class Outer:
    @dataclass
    class Inner:
        x: int

dv.apply_sync(lambda: (repr(Outer.Inner(1)), Outer.Inner.__qualname__, Outer.__qualname__))

# -- a helper that only a text names is not seen, and the error names the remedy
# error: NameError.*helper.*dv\[.helper.\] = helper
def helper(x):
    return x + 1

dv.apply_sync(lambda: eval("helper(2)"))

# -- attributes of a class that the engines change stay changed there
# once
class Log:
    entries = []

def add(x):
    Log.entries.append(x)
    return len(Log.entries)

first = dv.apply_sync(add, 1)
second = dv.apply_sync(add, 2)
first, second

# -- the cache of a helper lives from call to call
# once
from functools import cache

@cache
def slow(x):
    return x

def use(x):
    slow(x)
    return slow.cache_info().misses

first = dv.apply_sync(use, 1)
second = dv.apply_sync(use, 1)
first, second

# -- an attribute of a helper that is counted there
# once
def f():
    f.calls += 1
    return f.calls

f.calls = 0

first = dv.apply_sync(lambda: f())
second = dv.apply_sync(lambda: f())
first, second

# -- a class whose attribute the engine changed is the prompt's again when it changes there
# once
class Config:
    level = 1

def raise_level():
    Config.level += 1
    return Config.level

first = dv.apply_sync(raise_level)
Config.level = 10
first, dv.apply_sync(raise_level)
