# -- an enum member goes and comes
from enum import Enum

class Colour(Enum):
    RED = 1
    GREEN = 2

back = dv.apply_sync(lambda c: c, Colour.RED)
back is Colour.RED, back == Colour.RED, back

# -- an enum is used by name there
from enum import Enum

class Colour(Enum):
    RED = "r"
    GREEN = "g"

dv.apply_sync(lambda: [Colour("r"), Colour["GREEN"], list(Colour), Colour.RED.value])

# -- identity of members on the engine
from enum import Enum

class Kind(Enum):
    A = 1
    B = 2

def which(k):
    if k is Kind.A:
        return "a"
    elif k is Kind.B:
        return "b"
    return "?"

dv.map_sync(which, [Kind.A, Kind.B, 3])

# -- members as keys of a dict that comes back
from enum import Enum

class Day(Enum):
    SAT = 6
    SUN = 7

hours = dv.apply_sync(lambda: {Day.SAT: 4, Day.SUN: 0})
hours[Day.SAT], hours

# -- auto
from enum import Enum, auto

class Step(Enum):
    READ = auto()
    WORK = auto()
    WRITE = auto()

dv.apply_sync(lambda: [(s.name, s.value) for s in Step])

# -- IntEnum
from enum import IntEnum

class Level(IntEnum):
    LOW = 1
    HIGH = 10

back = dv.apply_sync(lambda: (Level.HIGH, Level.LOW + 1, sorted([Level.HIGH, Level.LOW]), Level.LOW < 5))
back, back[0] is Level.HIGH

# -- Flag
from enum import Flag, auto

class Perm(Flag):
    R = auto()
    W = auto()
    X = auto()
    RW = R | W

def use(p):
    return Perm.R in p, bool(p & Perm.X), (p | Perm.X).value, p == Perm.RW

back = dv.apply_sync(lambda p: p | Perm.X, Perm.R)
dv.map_sync(use, [Perm.RW, Perm.R]), back == Perm.R | Perm.X

# -- IntFlag
from enum import IntFlag

class Mask(IntFlag):
    A = 1
    B = 2
    C = 4

dv.apply_sync(lambda m: (int(m | Mask.C), Mask(3) == Mask.A | Mask.B, m & 1), Mask.A)

# -- a str enum
from enum import Enum

class Method(str, Enum):
    GET = "get"
    PUT = "put"

back = dv.apply_sync(lambda m: (m.upper(), m == "get", Method("put")), Method.GET)
back, back[2] is Method.PUT

# -- methods and properties of an enum
from enum import Enum
import math

class Planet(Enum):
    EARTH = (5.976e24, 6.37814e6)
    MARS = (6.421e23, 3.3972e6)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius

    @property
    def gravity(self):
        return round(6.6743e-11 * self.mass / math.pow(self.radius, 2), 2)

    @classmethod
    def heaviest(cls):
        return max(cls, key=lambda p: p.mass)

dv.apply_sync(lambda: ([p.gravity for p in Planet], Planet.heaviest()))

# -- a method that gives another member
from enum import Enum

class Turn(Enum):
    LEFT = 0
    RIGHT = 1

    def other(self):
        return Turn(1 - self.value)

dv.apply_sync(lambda t: t.other(), Turn.LEFT) is Turn.RIGHT, dv.map_sync(Turn.other, list(Turn))

# -- an enum whose values are made of functions
from enum import Enum
from functools import partial

def double(x):
    return 2 * x

class Op(Enum):
    DOUBLE = (double,)
    HALF = (lambda x: x / 2,)

    def __call__(self, x):
        return self.value[0](x)

dv.apply_sync(lambda: [op(10) for op in Op])

# -- an enum as a dataclass's field
from dataclasses import dataclass
from enum import Enum

class Unit(Enum):
    M = "m"
    KM = "km"

@dataclass(frozen=True)
class Length:
    value: float
    unit: Unit = Unit.M

    def metres(self):
        return self.value * (1000 if self.unit is Unit.KM else 1)

back = dv.apply_sync(lambda x: Length(x.metres()), Length(2.5, Unit.KM))
back, back.unit is Unit.M, back == Length(2500.0)

# -- the enum itself comes back
from enum import Enum

class E(Enum):
    A = 1

dv.apply_sync(lambda: E) is E

# -- match on an enum
from enum import Enum

class Light(Enum):
    RED = 1
    GREEN = 2

def act(light):
    match light:
        case Light.RED:
            return "stop"
        case Light.GREEN:
            return "go"

dv.map_sync(act, [Light.GREEN, Light.RED])

# -- aliases and __members__
from enum import Enum

class Shape(Enum):
    SQUARE = 2
    DIAMOND = 1
    ALIAS = 2

dv.apply_sync(lambda: (Shape.ALIAS is Shape.SQUARE, list(Shape.__members__), len(Shape)))

# -- an enum made by the functional call
from enum import Enum

Animal = Enum("Animal", "CAT DOG")

dv.apply_sync(lambda a: (a is Animal.DOG, [x.name for x in Animal]), Animal.DOG)

# -- an enum that was extended between calls
from enum import Enum

class E(Enum):
    A = 1

before = dv.apply_sync(lambda: [m.name for m in E])

class E(Enum):
    A = 1
    B = 2

before, dv.apply_sync(lambda: [m.name for m in E]), dv.apply_sync(lambda e: e is E.B, E.B)

# -- a wrong value is told as here
# raises: ValueError
from enum import Enum

class E(Enum):
    A = 1

dv.apply_sync(lambda: E(5))
