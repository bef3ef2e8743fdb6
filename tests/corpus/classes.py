# -- a method that uses a helper
def helper(x):
    return x * 10

class Model:
    def __init__(self, a):
        self.a = a

    def predict(self, x):
        return self.a + helper(x)

dv.apply_sync(lambda x: Model(3).predict(x), 2)

# -- a method that uses a module in a comprehension
import math

class Grid:
    def __init__(self, n):
        self.n = n

    def points(self):
        return [math.sin(math.pi * i / self.n) for i in range(self.n)]

dv.apply_sync(lambda n: Grid(n).points(), 4)

# -- a method that makes another class of the prompt
class Velocity:
    def __init__(self, v):
        self.v = v

class Particle:
    def __init__(self, x, v):
        self.x, self.v = x, Velocity(v)

    def step(self, dt):
        return Particle(self.x + self.v.v * dt, self.v.v)

dv.apply_sync(lambda p: p.step(0.5), Particle(1.0, 2.0))

# -- what comes back is an instance of the prompt's class
class Point:
    def __init__(self, x):
        self.x = x

back = dv.apply_sync(lambda: Point(3))
isinstance(back, Point), type(back) is Point, back.x

# -- an instance goes and comes
class Bag:
    def __init__(self):
        self.items = []

    def put(self, x):
        self.items.append(x)
        return self

dv["bag"] = Bag().put(1)
back = dv["bag"]
back.put(2), isinstance(back, Bag), Bag().put(5)

# -- the class still works here after it was there
class Vector:
    def __init__(self, *xs):
        self.xs = xs

    def __add__(self, other):
        return Vector(*(a + b for a, b in zip(self.xs, other.xs)))

    def __eq__(self, other):
        return isinstance(other, Vector) and self.xs == other.xs

    def __hash__(self):
        return hash(self.xs)

    def __repr__(self):
        return f"Vector{self.xs}"

there = dv.apply_sync(lambda a, b: a + b, Vector(1, 2), Vector(3, 4))
there == Vector(4, 6), there + Vector(1, 1), repr(there), len({there, Vector(4, 6)})

# -- inheritance and super
class Shape:
    def __init__(self, name):
        self.name = name

    def describe(self):
        return f"{self.name} of area {self.area()}"

class Square(Shape):
    def __init__(self, side):
        super().__init__("square")
        self.side = side

    def area(self):
        return self.side**2

class Named(Square):
    def describe(self):
        return "a " + super().describe()

dv.apply_sync(lambda: [s.describe() for s in (Square(2), Named(3))])

# -- a diamond
class A:
    def who(self):
        return ["A"]

class B(A):
    def who(self):
        return ["B", *super().who()]

class C(A):
    def who(self):
        return ["C", *super().who()]

class D(B, C):
    def who(self):
        return ["D", *super().who()]

dv.apply_sync(lambda: (D().who(), [k.__name__ for k in D.__mro__]))

# -- a subclass is known as a subclass there
class Base: ...
class Derived(Base): ...

dv.apply_sync(lambda x: (isinstance(x, Base), issubclass(type(x), Base), type(x) is Derived), Derived())

# -- base and derived come back in two calls and still belong together
class Base:
    def name(self):
        return type(self).__name__

class Derived(Base):
    pass

base = dv.apply_sync(Base)
derived = dv.apply_sync(Derived)
base.name(), derived.name(), isinstance(derived, type(base))

# -- properties with setter and deleter
class Temperature:
    def __init__(self, celsius):
        self._celsius = celsius

    @property
    def fahrenheit(self):
        return self._celsius * 9 / 5 + 32

    @fahrenheit.setter
    def fahrenheit(self, value):
        self._celsius = (value - 32) * 5 / 9

    @fahrenheit.deleter
    def fahrenheit(self):
        self._celsius = None

def use():
    t = Temperature(100)
    before = t.fahrenheit
    t.fahrenheit = 32
    now = t._celsius
    del t.fahrenheit
    return before, now, t

dv.apply_sync(use)

# -- class methods and static methods
class Date:
    def __init__(self, y, m, d):
        self.ymd = y, m, d

    @classmethod
    def parse(cls, text):
        return cls(*map(int, text.split("-")))

    @staticmethod
    def leap(y):
        return y % 4 == 0 and (y % 100 != 0 or y % 400 == 0)

dv.apply_sync(lambda: (Date.parse("2024-02-29"), [Date.leap(y) for y in (1900, 2000, 2023)]))

# -- a class method itself is the function
class Circle:
    def __init__(self, r):
        self.r = r

    @classmethod
    def unit(cls):
        return cls(1)

    @staticmethod
    def double(x):
        return 2 * x

dv.apply_sync(Circle.unit), dv.map_sync(Circle.double, [1, 2])

# -- the class itself is the function
class Sample:
    def __init__(self, x, scale=1):
        self.x = x * scale

dv.map_sync(Sample, [1, 2], [10, 20])

# -- a bound method is the function
class Line:
    def __init__(self, a, b):
        self.a, self.b = a, b

    def at(self, x):
        return self.a * x + self.b

dv.map_sync(Line(2, 1).at, range(4))

# -- an unbound method is the function
class Line:
    def __init__(self, a):
        self.a = a

    def at(self, x=1):
        return self.a * x

dv.map_sync(Line.at, [Line(1), Line(5)])

# -- a callable instance is the function
class Polynomial:
    def __init__(self, *c):
        self.c = c

    def __call__(self, x):
        return sum(c * x**k for k, c in enumerate(self.c))

dv.map_sync(Polynomial(1, 0, 2), [0, 1, 2])

# -- a callable instance as a helper
class Multiply:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return self.by * x

triple = Multiply(3)

dv.apply_sync(lambda xs: [triple(x) for x in xs], [1, 2])

# -- class attributes that are changed there stay there
class Counter:
    total = 0

    def __init__(self):
        Counter.total += 1

def make(n):
    before = Counter.total
    for _ in range(n):
        Counter()
    return Counter.total - before

dv.apply_sync(make, 3)

# -- a class attribute that was changed here between calls
class Config:
    level = 1

before = dv.apply_sync(lambda: Config.level)
Config.level = 2
before, dv.apply_sync(lambda: Config.level)

# -- a method that was monkeypatched between calls
class Robot:
    def speak(self):
        return "beep"

before = dv.apply_sync(lambda: Robot().speak())
Robot.speak = lambda self: "boop"
before, dv.apply_sync(lambda: Robot().speak())

# -- a method that was added between calls, and one taken away
class Robot:
    def old(self):
        return "old"

before = dv.apply_sync(lambda: [n for n in vars(Robot) if not n.startswith("_")])
Robot.new = lambda self: "new"
del Robot.old
before, dv.apply_sync(lambda: [n for n in vars(Robot) if not n.startswith("_")])

# -- a class that was redefined between calls
class Thing:
    version = 1

    def __init__(self):
        self.old = True

def make():
    return Thing()

first = dv.apply_sync(make)

class Thing:
    version = 2

    def __init__(self):
        self.new = True

second = dv.apply_sync(make)
first.version, second.version, isinstance(first, Thing), isinstance(second, Thing), second

# -- a base class that was redefined between calls
class Base:
    def f(self):
        return 1

class Derived(Base):
    pass

before = dv.apply_sync(lambda: Derived().f())

class Base:
    def f(self):
        return 2

class Derived(Base):
    pass

before, dv.apply_sync(lambda: Derived().f())

# -- pickle.dumps and loads of an instance on the engine
import pickle

class Item:
    def __init__(self, name):
        self.name = name

def round_trip(name):
    item = Item(name)
    again = pickle.loads(pickle.dumps(item))
    return type(again) is Item, again.name

dv.apply_sync(round_trip, "a")

# -- pickle.dumps of an instance here after it came back
import pickle

class Item:
    def __init__(self, name):
        self.name = name

back = dv.apply_sync(lambda: Item("b"))
pickle.loads(pickle.dumps(back)).name, type(pickle.loads(pickle.dumps(back))) is Item

# -- bytes that were pickled there are loaded here
import pickle

class Item:
    def __init__(self, name):
        self.name = name

pickle.loads(dv.apply_sync(lambda: pickle.dumps(Item("c"))))

# -- copy and deepcopy of an instance on the engine
import copy

class Node:
    def __init__(self, value, *links):
        self.value, self.links = value, list(links)

def copies():
    a = Node(1, Node(2))
    shallow, deep = copy.copy(a), copy.deepcopy(a)
    a.links[0].value = 20
    return shallow.links[0].value, deep.links[0].value, type(deep) is Node

dv.apply_sync(copies)

# -- getstate and setstate
import pickle

class Connection:
    def __init__(self, url):
        self.url, self.socket = url, object()

    def __getstate__(self):
        return {"url": self.url}

    def __setstate__(self, state):
        self.url, self.socket = state["url"], "reopened"

dv.apply_sync(lambda url: pickle.loads(pickle.dumps(Connection(url))), "x")

# -- getstate and setstate on the way
class Handle:
    def __init__(self, path, mode="open"):
        self.path, self.mode = path, mode

    def __getstate__(self):
        return self.path

    def __setstate__(self, path):
        self.path, self.mode = path, "open"

dv.apply_sync(lambda h: Handle(h.path * 2), Handle("p"))

# -- __reduce__
class Odd:
    def __init__(self, n):
        self.n = n

    def __reduce__(self):
        return Odd, (self.n,)

dv.apply_sync(lambda o: Odd(o.n + 1), Odd(4))

# -- __getnewargs__ and __new__
class Pair(tuple):
    def __new__(cls, a, b):
        return super().__new__(cls, (a, b))

    def __getnewargs__(self):
        return tuple(self)

    def swapped(self):
        return Pair(self[1], self[0])

dv.apply_sync(lambda p: p.swapped(), Pair(1, 2))

# -- instances that refer to each other
class Person:
    def __init__(self, name):
        self.name, self.friends = name, []

ann, bob = Person("Ann"), Person("Bob")
ann.friends.append(bob)
bob.friends.append(ann)

dv.apply_sync(lambda a: a.friends[0].friends[0] is a and a.friends[0].name, ann)

# -- the same instance twice in the arguments is one there
class Box:
    pass

box = Box()

dv.apply_sync(lambda a, b, c: (a is b, a is c[0], type(a) is Box), box, box, [box])

# -- the type of an instance sent apart is the class of the function
class Money:
    def __init__(self, n):
        self.n = n

def known(x):
    return isinstance(x, Money)

dv.map_sync(known, [Money(1), 1, Money(2)])

# -- an instance that was left there is of the class that is sent later
class Money:
    def __init__(self, n):
        self.n = n

dv["m"] = Money(5)

dv.apply_sync(lambda: isinstance(m, Money) and m.n)

# -- a class with __eq__ and no __hash__
class V:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is V and self.x == other.x

a = dv.apply_sync(lambda: V(3))
a == V(3), a != V(4), V.__hash__ is None

# -- nested classes
class Outer:
    class Inner:
        def __init__(self, x):
            self.x = x

        def up(self):
            return Outer.Inner(self.x + 1)

    def make(self, x):
        return self.Inner(x)

back = dv.apply_sync(lambda: Outer().make(1).up())
back.x, type(back) is Outer.Inner, type(back).__qualname__

# -- a class made in a function
def factory(n):
    class Made:
        size = n

        def total(self, xs):
            return self.size * sum(xs)
    return Made

Made = factory(3)

dv.apply_sync(lambda: Made().total([1, 2])), dv.apply_sync(lambda: factory(5)().total([1]))

# -- a class made by type()
def hello(self):
    return f"hello from {type(self).__name__}"

Made = type("Made", (), {"hello": hello, "n": 4})

dv.apply_sync(lambda: (Made().hello(), Made.n))

# -- a class as the argument
class Alpha:
    value = 1

class Beta(Alpha):
    value = 2

dv.map_sync(lambda cls: (cls.__name__, cls().value, issubclass(cls, Alpha)), [Alpha, Beta])

# -- a class as the result is the prompt's
class Mine:
    pass

dv.apply_sync(lambda: Mine) is Mine, dv.apply_sync(lambda: [Mine, int])

# -- a linked list
class Link:
    def __init__(self, head, tail=None):
        self.head, self.tail = head, tail

    def __len__(self):
        return 1 + (len(self.tail) if self.tail else 0)

    def __getitem__(self, i):
        return self.head if i == 0 else self.tail[i - 1]

    @classmethod
    def of(cls, *xs):
        return cls(xs[0], cls.of(*xs[1:])) if xs else None

dv.apply_sync(lambda: (len(Link.of(1, 2, 3)), Link.of(1, 2, 3)[2], list(Link.of(4, 5).__class__.of(6).tail or [])))

# -- a state machine of classes that name each other
class Red:
    def next(self):
        return Green()

class Green:
    def next(self):
        return Yellow()

class Yellow:
    def next(self):
        return Red()

def run(n):
    light, seen = Red(), []
    for _ in range(n):
        seen.append(type(light).__name__)
        light = light.next()
    return seen

dv.apply_sync(run, 5)

# -- an attribute error is told as here
# raises: AttributeError
class Empty:
    pass

dv.apply_sync(lambda: Empty().nothing)
