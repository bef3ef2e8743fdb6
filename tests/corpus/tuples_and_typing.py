# -- collections.namedtuple
from collections import namedtuple

Point = namedtuple("Point", "x y")

back = dv.apply_sync(lambda p: Point(p.y, p.x), Point(1, 2))
back, type(back) is Point, back.x, back == (2, 1)

# -- namedtuple with defaults and methods
from collections import namedtuple

P = namedtuple("P", ["a", "b"], defaults=[5])

dv.apply_sync(lambda: (P(1), P(1)._replace(b=2), P(3)._asdict(), P._fields, P._make([7, 8])))

# -- a subclass of a namedtuple
from collections import namedtuple

class Vec(namedtuple("Vec", "x y")):
    __slots__ = ()

    def __add__(self, o):
        return Vec(self.x + o.x, self.y + o.y)

    @property
    def norm(self):
        return (self.x**2 + self.y**2) ** 0.5

back = dv.apply_sync(lambda a, b: a + b, Vec(1, 2), Vec(2, 2))
back, back.norm, type(back) is Vec

# -- typing.NamedTuple
from typing import NamedTuple

class Record(NamedTuple):
    name: str
    value: float = 0.0

    def scaled(self, k):
        return self._replace(value=self.value * k)

back = dv.apply_sync(lambda r: r.scaled(3), Record("a", 1.5))
back, isinstance(back, Record), Record("b"), back._fields

# -- a list of NamedTuples by map
from typing import NamedTuple

class Row(NamedTuple):
    n: int
    square: int

def row(n):
    return Row(n, n * n)

rows = dv.map_sync(row, range(5))
rows[2], max(rows, key=lambda r: r.square), all(type(r) is Row for r in rows)

# -- sorting and unpacking NamedTuples there
from typing import NamedTuple

class Edge(NamedTuple):
    weight: int
    ends: tuple

def mst(edges, n):
    parent = list(range(n))

    def find(i):
        return i if parent[i] == i else find(parent[i])

    chosen = []
    for weight, (a, b) in sorted(edges):
        if find(a) != find(b):
            parent[find(a)] = find(b)
            chosen.append(Edge(weight, (a, b)))
    return chosen

dv.apply_sync(mst, [Edge(3, (0, 1)), Edge(1, (1, 2)), Edge(2, (0, 2))], 3)

# -- TypedDict
from typing import TypedDict

class Movie(TypedDict, total=False):
    title: str
    year: int

dv.apply_sync(lambda: (Movie(title="M", year=1931), Movie.__annotations__["year"].__name__, type(Movie()).__name__))

# -- annotated helpers with generic types
from typing import Callable, Dict, List, Optional, Tuple, Union

def lookup(table: Dict[str, int], key: str, default: Optional[int] = None) -> Union[int, None]:
    return table.get(key, default)

def run(f: Callable[..., Optional[int]], keys: List[str]) -> Tuple[Optional[int], ...]:
    return tuple(f({"a": 1}, k) for k in keys)

dv.apply_sync(lambda: run(lookup, ["a", "b"]))

# -- future annotations on functions that name a class of the prompt
from __future__ import annotations

class Mesh:
    def __init__(self, n: int) -> None:
        self.n = n

    def refined(self: Mesh) -> Mesh:
        return Mesh(2 * self.n)

def refine(mesh: Mesh, times: int) -> Mesh:
    for _ in range(times):
        mesh = mesh.refined()
    return mesh

dv.apply_sync(refine, Mesh(3), 2), refine.__annotations__

# -- annotations that name what does not exist anywhere
from __future__ import annotations

def f(x: Nothing | NoSuch) -> AlsoNot:
    return x

dv.apply_sync(f, 1), dv.apply_sync(lambda: [f(i) for i in range(2)])

# -- a class of the prompt in the annotations of a helper
class Mesh:
    n = 3

def cells(mesh: Mesh) -> int:
    return mesh.n

dv.apply_sync(cells, Mesh()), dv.apply_sync(lambda: cells.__annotations__["mesh"] is Mesh)

# -- get_type_hints on the engine
from typing import get_type_hints

class Unit:
    pass

def convert(x: "float", to: "Unit" = None) -> "list[Unit]":
    return [to]

dv.apply_sync(lambda: get_type_hints(convert)["to"] is Unit)

# -- local annotations and Final
from typing import Any, Final

def f(x: Any) -> int:
    n: Final = 3
    total: int = 0
    for _ in range(n):
        total += x
    return total

dv.map_sync(f, [1, 2])

# -- overload and cast
from typing import cast, overload

@overload
def double(x: int) -> int: ...
@overload
def double(x: str) -> str: ...
def double(x):
    return x * 2

dv.apply_sync(lambda: (double(2), cast(str, double("a"))))

# -- NewType
from typing import NewType

UserId = NewType("UserId", int)

def name(u: UserId) -> str:
    return f"user {u}"

dv.apply_sync(lambda: name(UserId(5)))

# -- a TypeVar in a helper's signature
from typing import Sequence, TypeVar

T = TypeVar("T")

def first(xs: Sequence[T]) -> T:
    return xs[0]

dv.apply_sync(lambda xs: first(xs), [3, 4])

# -- ParamSpec in a decorator
from typing import Callable, TypeVar
try:
    from typing import ParamSpec
except ImportError:
    from typing_extensions import ParamSpec
import functools

P = ParamSpec("P")
R = TypeVar("R")

def logged(f: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(f)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        return f(*args, **kwargs)
    return inner

@logged
def add(a: int, b: int = 1) -> int:
    return a + b

dv.apply_sync(add, 1, b=5)

# -- Literal, Annotated and get_args
from typing import Annotated, Literal, get_args

def mode(m: Literal["r", "w"]) -> Annotated[str, "checked"]:
    if m not in get_args(mode.__annotations__["m"]):
        raise ValueError(m)
    return m

dv.apply_sync(lambda: mode("w"))

# -- plain tuples, nested and starred
def stats(xs):
    first, *middle, last = sorted(xs)
    (a, b), c = (first, last), middle
    return a, b, c, (*c, b)

dv.apply_sync(stats, [3, 1, 2])
