# -- a dataclass goes and comes, and still prints here
from dataclasses import dataclass

@dataclass
class Par:
    n: int
    scale: float = 1.0

dv["p"] = Par(3)
back = dv["p"]
back, repr(Par(3)), back == Par(3), type(back) is Par

# -- a dataclass is made there
from dataclasses import dataclass

@dataclass
class Result:
    name: str
    values: list

made = dv.apply_sync(lambda: Result("a", [1, 2]))
made == Result("a", [1, 2]), repr(made), isinstance(made, Result)

# -- a default factory
from dataclasses import dataclass, field

@dataclass
class Bag:
    items: list = field(default_factory=list)
    seen: dict = field(default_factory=dict, repr=False, compare=False)

def use():
    a, b = Bag(), Bag()
    a.items.append(1)
    return a, b, a == b, repr(a)

dv.apply_sync(use)

# -- a default factory that is a helper
from dataclasses import dataclass, field

def grid():
    return [0.0, 0.5, 1.0]

@dataclass
class Run:
    points: list = field(default_factory=grid)
    weights: list = field(default_factory=lambda: [x * 2 for x in grid()])

dv.apply_sync(lambda: Run())

# -- frozen, and hashed
from dataclasses import FrozenInstanceError, dataclass

@dataclass(frozen=True)
class Key:
    a: int
    b: str

def use(k):
    try:
        k.a = 5
    except FrozenInstanceError as e:
        return type(e).__name__, {k: 1}[Key(1, "x")], len({Key(1, "x"), k})

dv.apply_sync(use, Key(1, "x"))

# -- frozen comes back and is still frozen
from dataclasses import dataclass

@dataclass(frozen=True)
class Key:
    a: int

back = dv.apply_sync(lambda: Key(7))
back == Key(7), hash(back) == hash(Key(7)), {back: "found"}[Key(7)]

# -- order
from dataclasses import dataclass

@dataclass(order=True)
class Version:
    major: int
    minor: int = 0

dv.apply_sync(lambda vs: (sorted(vs), max(vs), vs[0] < vs[1]), [Version(2), Version(1, 5), Version(1)])

# -- slots
from dataclasses import dataclass

@dataclass(slots=True)
class P:
    x: float
    y: float = 0.0

back = dv.apply_sync(lambda p: P(p.y, p.x), P(1.0, 2.0))
back, back == P(2.0, 1.0), hasattr(back, "__dict__")

# -- slots and frozen
from dataclasses import dataclass

@dataclass(slots=True, frozen=True)
class P:
    x: float

back = dv.apply_sync(lambda p: P(p.x + 1), P(1.0))
back, back == P(2.0)

# -- keyword-only fields
from dataclasses import KW_ONLY, dataclass

@dataclass
class Options:
    name: str
    _: KW_ONLY
    debug: bool = False
    level: int = 1

dv.apply_sync(lambda: Options("a", level=3))

# -- inheritance
from dataclasses import dataclass

@dataclass
class Base:
    a: int = 1

    def total(self):
        return sum(vars(self).values())

@dataclass
class Derived(Base):
    b: int = 2

    def total(self):
        return super().total() * 10

back = dv.apply_sync(lambda: Derived(b=5))
back, back.total(), isinstance(back, Base)

# -- __post_init__ and InitVar
from dataclasses import InitVar, dataclass, field

def double(x):
    return 2 * x

@dataclass
class Box:
    a: float
    factor: InitVar[float] = 1.0
    area: float = field(init=False)

    def __post_init__(self, factor):
        self.area = double(self.a) * factor

dv.apply_sync(lambda: Box(3.0, 2.0))

# -- fields, asdict, astuple, replace
from dataclasses import asdict, astuple, dataclass, fields, replace

@dataclass
class Inner:
    x: int

@dataclass
class Outer:
    inner: Inner
    many: list

def use(o):
    return [f.name for f in fields(o)], asdict(o), astuple(o), replace(o, many=[])

dv.apply_sync(use, Outer(Inner(1), [Inner(2), Inner(3)]))

# -- the same functions at the prompt, of what came back
from dataclasses import asdict, dataclass, fields, is_dataclass, replace

@dataclass
class Outer:
    a: int
    b: str = "b"

back = dv.apply_sync(lambda: Outer(1))
asdict(back), [f.name for f in fields(back)], replace(back, a=2), is_dataclass(back), asdict(Outer(3))

# -- ClassVar
from dataclasses import dataclass, fields
from typing import ClassVar

@dataclass
class Particle:
    species: ClassVar[str] = "electron"
    charge: int = -1

dv.apply_sync(lambda: (Particle(), Particle.species, len(fields(Particle))))

# -- make_dataclass
from dataclasses import field, make_dataclass

Point = make_dataclass("Point", [("x", int), ("y", int, field(default=5))], namespace={"sum": lambda self: self.x + self.y})

dv.apply_sync(lambda: (Point(1), Point(2).sum()))

# -- an instance that is mutated there and sent back
# once
from dataclasses import dataclass, field

@dataclass
class State:
    t: float = 0.0
    history: list = field(default_factory=list)

def advance(s, dt):
    s.t += dt
    s.history.append(s.t)
    return s

state = State()
dv.apply_sync(advance, dv.apply_sync(advance, state, 0.5), 0.25)

# -- numpy in a dataclass
from dataclasses import dataclass
import numpy as np

@dataclass
class Field:
    data: np.ndarray
    dx: float = 1.0

    def laplacian(self):
        d = self.data
        return Field((np.roll(d, 1) - 2 * d + np.roll(d, -1)) / self.dx**2, self.dx)

dv.apply_sync(lambda f: f.laplacian(), Field(np.array([0.0, 1.0, 0.0, 0.0]), 0.5))

# -- a dataclass with future annotations
from __future__ import annotations

from dataclasses import dataclass, fields

@dataclass
class Node:
    value: int
    next: Node | None = None

    def total(self) -> int:
        return self.value + (self.next.total() if self.next else 0)

dv.apply_sync(lambda: (Node(1, Node(2)).total(), [f.type for f in fields(Node)], Node(3, Node(4))))

# -- a dataclass with a property, class methods and operators
from dataclasses import dataclass
import math

@dataclass
class Vec:
    x: float
    y: float

    @property
    def norm(self):
        return math.hypot(self.x, self.y)

    @classmethod
    def polar(cls, r, phi):
        return cls(r * math.cos(phi), r * math.sin(phi))

    def __add__(self, o):
        return Vec(self.x + o.x, self.y + o.y)

dv.apply_sync(lambda: (Vec(3, 4).norm, Vec.polar(2, 0), Vec(1, 2) + Vec(3, 4)))

# -- a map over dataclasses
from dataclasses import dataclass

@dataclass
class Job:
    n: int
    power: int = 2

@dataclass
class Done:
    job: Job
    value: int

def work(job):
    return Done(job, job.n**job.power)

results = dv.map_sync(work, [Job(k) for k in range(5)])
results[3], [r.value for r in results], all(isinstance(r, Done) for r in results)

# -- match on a dataclass
from dataclasses import dataclass

@dataclass
class Circle:
    r: float

@dataclass
class Rect:
    a: float
    b: float

def area(s):
    match s:
        case Circle(r):
            return round(3.14159 * r * r, 3)
        case Rect(a, b) if a == b:
            return "square"
        case Rect(a=a, b=b):
            return a * b

dv.map_sync(area, [Circle(1), Rect(2, 2), Rect(2, 3)])

# -- a dataclass redefined with another field
from dataclasses import dataclass

@dataclass
class P:
    x: int

first = dv.apply_sync(lambda: P(1))

@dataclass
class P:
    x: int
    y: int = 9

second = dv.apply_sync(lambda: P(1))
vars(first), second, P(4)

# -- pickled, copied and compared on the engine
from dataclasses import dataclass
import copy
import pickle

@dataclass
class P:
    x: int

dv.apply_sync(lambda p: (pickle.loads(pickle.dumps(p)) == p, copy.deepcopy(p) == p, p == P(1), p.__match_args__), P(1))

# -- a missing argument is told as here
# raises: TypeError
from dataclasses import dataclass

@dataclass
class P:
    x: int
    y: int

dv.apply_sync(lambda: P(1))

# -- generic dataclass
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

@dataclass
class Maybe(Generic[T]):
    value: T

back = dv.apply_sync(lambda: Maybe([1]))
back, isinstance(back, Maybe), Maybe[int](3)
