# -- operators of all kinds
class Frac:
    def __init__(self, n, d=1):
        self.n, self.d = n, d

    def __add__(self, o):
        o = o if isinstance(o, Frac) else Frac(o)
        return Frac(self.n * o.d + o.n * self.d, self.d * o.d)

    __radd__ = __add__

    def __mul__(self, o):
        o = o if isinstance(o, Frac) else Frac(o)
        return Frac(self.n * o.n, self.d * o.d)

    def __neg__(self):
        return Frac(-self.n, self.d)

    def __float__(self):
        return self.n / self.d

    def __lt__(self, o):
        return float(self) < float(o)

    def __bool__(self):
        return self.n != 0

def use():
    a, b = Frac(1, 2), Frac(3, 4)
    return sum([a, b]), a * b, -a, float(a), a < b, bool(Frac(0)), sorted([b, a])[0]

dv.apply_sync(use)

# -- matrix multiplication and in-place operators
class M:
    def __init__(self, *rows):
        self.rows = [list(r) for r in rows]

    def __matmul__(self, o):
        return M(*[[sum(a * b for a, b in zip(r, c)) for c in zip(*o.rows)] for r in self.rows])

    def __imul__(self, k):
        self.rows = [[k * x for x in r] for r in self.rows]
        return self

def use(a):
    b = a @ a
    b *= 2
    return b

dv.apply_sync(use, M((1, 2), (3, 4)))

# -- slots
class P:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y

    def flipped(self):
        return P(self.y, self.x)

back = dv.apply_sync(lambda p: p.flipped(), P(1, 2))
back, hasattr(back, "__dict__"), type(back) is P

# -- slots with inheritance
class P:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x

class Q(P):
    __slots__ = ("y",)

    def __init__(self, x, y):
        super().__init__(x)
        self.y = y

dv.apply_sync(lambda q: Q(q.y, q.x), Q(1, 2))

# -- a context manager class
class Timer:
    log = []

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        Timer.log.append("in " + self.name)
        return self

    def __exit__(self, kind, value, traceback):
        Timer.log.append(f"out {self.name} {kind.__name__ if kind else None}")
        return kind is ZeroDivisionError

def use():
    Timer.log.clear()
    with Timer("a"), Timer("b"):
        1 / 0
    return list(Timer.log)

dv.apply_sync(use)

# -- a sequence with getitem, len, contains and slices
class Squares:
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(self.n))]
        if not -self.n <= i < self.n:
            raise IndexError(i)
        return (i % self.n) ** 2

    def __contains__(self, x):
        return x in list(self)

dv.apply_sync(lambda: (len(Squares(5)), Squares(5)[1:4], Squares(5)[-1], 9 in Squares(5), list(reversed(Squares(3)))))

# -- a mapping of one's own
from collections.abc import MutableMapping

class Lower(MutableMapping):
    def __init__(self, **kw):
        self.data = {}
        self.update(kw)

    def __getitem__(self, k):
        return self.data[k.lower()]

    def __setitem__(self, k, v):
        self.data[k.lower()] = v

    def __delitem__(self, k):
        del self.data[k.lower()]

    def __iter__(self):
        return iter(self.data)

    def __len__(self):
        return len(self.data)

def use(m):
    m["B"] = 2
    return m.pop("a"), dict(m), "B" in m, m

dv.apply_sync(use, Lower(A=1))

# -- a subclass of list, dict, str, int, float
class L(list):
    def total(self):
        return sum(self)

class D(dict):
    def __missing__(self, k):
        return f"no {k}"

class S(str):
    def shout(self):
        return S(self.upper() + "!")

class I(int):
    def half(self):
        return I(self // 2)

class F(float):
    pass

dv.apply_sync(lambda: (L([1, 2]).total(), D(a=1)["b"], S("hi").shout(), I(9).half(), L([3]), D(x=2), F(0.5)))

# -- a subclass of list with attributes travels
class Series(list):
    def __init__(self, xs, unit):
        super().__init__(xs)
        self.unit = unit

dv.apply_sync(lambda s: (s, s.unit, Series(s[:1], "s")), Series([1, 2], "m"))

# -- a subclass of a numpy array
import numpy as np

class Tagged(np.ndarray):
    def __new__(cls, values, tag=None):
        self = np.asarray(values).view(cls)
        self.tag = tag
        return self

    def __array_finalize__(self, obj):
        self.tag = getattr(obj, "tag", None)

def use(n):
    t = Tagged(np.arange(n), "t") * 2
    return t.tag, type(t).__name__, float(t.sum()), np.asarray(t)

dv.apply_sync(use, 4)

# -- a descriptor
class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, obj, kind=None):
        return self if obj is None else getattr(obj, self.name)

    def __set__(self, obj, value):
        if value <= 0:
            raise ValueError(f"{self.name[1:]} must be positive")
        setattr(obj, self.name, value)

class Body:
    mass = Positive()

    def __init__(self, mass):
        self.mass = mass

def use(m):
    try:
        return Body(m)
    except ValueError as e:
        return str(e)

dv.map_sync(use, [1.5, -1])

# -- a lazy attribute with __getattr__, and __setattr__, __delattr__
class Lazy:
    def __init__(self):
        object.__setattr__(self, "log", [])

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return f"lazy {name}"

    def __setattr__(self, name, value):
        self.log.append(name)
        object.__setattr__(self, name, value)

def use():
    z = Lazy()
    z.a = 1
    return z.a, z.b, z.log

dv.apply_sync(use)

# -- a metaclass
class Registry(type):
    known = {}

    def __new__(mcls, name, bases, space):
        cls = super().__new__(mcls, name, bases, space)
        mcls.known[name] = cls
        return cls

    def __len__(cls):
        return 42

class Base(metaclass=Registry):
    pass

class Plugin(Base):
    pass

dv.apply_sync(lambda: (len(Plugin), type(Plugin).__name__, sorted(Registry.known), isinstance(Plugin, Registry)))

# -- a metaclass whose instances come back
class Meta(type):
    def describe(cls):
        return f"class {cls.__name__}"

class Thing(metaclass=Meta):
    pass

back = dv.apply_sync(lambda: Thing())
type(back).describe(), type(back) is Thing, type(Thing) is Meta

# -- __init_subclass__
class Plugin:
    registered = []

    def __init_subclass__(cls, /, key=None, **kw):
        super().__init_subclass__(**kw)
        cls.key = key
        Plugin.registered.append(cls.__name__)

class First(Plugin, key="1"):
    pass

class Second(Plugin, key="2"):
    pass

dv.apply_sync(lambda: (Plugin.registered, First.key, Second.key))

# -- __init_subclass__ with an argument that it must have
class Unit:
    def __init_subclass__(cls, symbol):
        cls.symbol = symbol

class Metre(Unit, symbol="m"):
    pass

back = dv.apply_sync(lambda: Metre())
back.symbol, type(back) is Metre

# -- __class_getitem__
class Box:
    def __class_getitem__(cls, item):
        return f"{cls.__name__}[{item.__name__}]"

dv.apply_sync(lambda: Box[int])

# -- an abstract base class
from abc import ABC, abstractmethod

class Shape(ABC):
    @abstractmethod
    def area(self): ...

    @property
    @abstractmethod
    def sides(self): ...

class Rect(Shape):
    def __init__(self, a, b):
        self.a, self.b = a, b

    def area(self):
        return self.a * self.b

    @property
    def sides(self):
        return 4

def use():
    try:
        Shape()
    except TypeError as e:
        return "abstract", Rect(2, 3).area(), Rect(1, 1).sides, isinstance(Rect(1, 1), Shape)

dv.apply_sync(use)

# -- an abstract base class of which an instance comes back
from abc import ABC, abstractmethod

class Base(ABC):
    @abstractmethod
    def f(self): ...

class Impl(Base):
    def f(self):
        return "f"

back = dv.apply_sync(lambda: Impl())
isinstance(back, Base), back.f(), isinstance(Impl(), Base), Base.__abstractmethods__

# -- a virtual subclass is registered
from abc import ABC

class Duck(ABC):
    pass

class Mallard:
    pass

Duck.register(Mallard)

dv.apply_sync(lambda: isinstance(Mallard(), Duck)), isinstance(dv.apply_sync(lambda: Mallard()), Duck)

# -- a subclass hook
from abc import ABC

class Sized(ABC):
    @classmethod
    def __subclasshook__(cls, other):
        return hasattr(other, "size")

class Thing:
    size = 3

dv.apply_sync(lambda: (isinstance(Thing(), Sized), isinstance(3, Sized)))

# -- a protocol
from typing import Protocol, runtime_checkable

@runtime_checkable
class Quacks(Protocol):
    def quack(self) -> str: ...

class Duck:
    def quack(self) -> str:
        return "quack"

dv.apply_sync(lambda: [x.quack() if isinstance(x, Quacks) else None for x in (Duck(), 3)])

# -- a generic class
from typing import Generic, TypeVar

T = TypeVar("T")

class Stack(Generic[T]):
    def __init__(self) -> None:
        self.items: list[T] = []

    def push(self, x: T) -> "Stack[T]":
        self.items.append(x)
        return self

back = dv.apply_sync(lambda: Stack().push(1).push(2))
back.items, type(back) is Stack, Stack[int]().push(3).items

# -- a generic class with a parameter on the engine
from typing import Generic, TypeVar

T = TypeVar("T")

class Box(Generic[T]):
    def __init__(self, x: T):
        self.x = x

dv.apply_sync(lambda: (Box[int](3), Box[str].__args__ == (str,)))

# -- a mixin
class Repr:
    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"

class Compare:
    def __eq__(self, o):
        return vars(self) == vars(o)

class P(Repr, Compare):
    def __init__(self, a):
        self.a = a

dv.apply_sync(lambda: (repr(P(1)), P(1) == P(1), P(1) == P(2)))

# -- a singleton
class One:
    _it = None

    def __new__(cls):
        if cls._it is None:
            cls._it = super().__new__(cls)
        return cls._it

dv.apply_sync(lambda: One() is One())

# -- private names
class Safe:
    def __init__(self):
        self.__code = 42

    def __secret(self):
        return self.__code

    def open(self):
        return self.__secret()

dv.apply_sync(lambda: (Safe().open(), sorted(vars(Safe()))))

# -- __format__, __str__, __bytes__, __index__, __round__
class Length:
    def __init__(self, m):
        self.m = m

    def __format__(self, spec):
        return format(self.m, spec or ".1f") + " m"

    def __str__(self):
        return "long"

    def __bytes__(self):
        return bytes([self.m])

    def __index__(self):
        return self.m

    def __round__(self, n=0):
        return Length(round(self.m, -1))

dv.apply_sync(lambda: (f"{Length(3)}", f"{Length(3):.3f}", str(Length(1)), bytes(Length(65)), range(9)[Length(2)], round(Length(27))))

# -- __del__ and weak references
import gc
import weakref

class Node:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def __del__(self):
        self.log.append(self.name)

def use():
    log = []
    n = Node("n", log)
    r = weakref.ref(n)
    alive = r() is n
    del n
    gc.collect()
    return alive, r(), log

dv.apply_sync(use)

# -- a class with its own __dir__ and __doc__ and annotations
class Documented:
    """What it is."""

    x: int = 3

    def __dir__(self):
        return ["only"]

dv.apply_sync(lambda: (Documented.__doc__, dir(Documented()), Documented.__annotations__, Documented.__name__, Documented.__module__))

# -- a class decorator that adds methods
def with_greeting(cls):
    def greet(self):
        return f"I am {self.name}"

    cls.greet = greet
    return cls

@with_greeting
class Person:
    def __init__(self, name):
        self.name = name

dv.apply_sync(lambda: Person("Ann").greet())

# -- an event system with bound methods as callbacks
class Event:
    def __init__(self):
        self.handlers = []

    def fire(self, *args):
        return [h(*args) for h in self.handlers]

class Listener:
    def __init__(self, k):
        self.k = k

    def on(self, x):
        return self.k * x

def use():
    e = Event()
    e.handlers += [Listener(2).on, Listener(3).on, lambda x: -x]
    return e.fire(10)

dv.apply_sync(use)
