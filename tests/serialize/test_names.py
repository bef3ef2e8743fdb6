"""One rule for names: an engine's own names have priority; missing names of code come from the prompt."""

from __future__ import annotations

import os
import pickle
import random
import sys

import numpy as np
import pytest

from mpidirect import CompositeError

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def define(main, dview):
    """Run source code at the prompt; engines have none of its names before and afterwards."""
    dview.clear(block=True)

    def define(source):
        exec(source, main.__dict__)
        return main

    yield define
    dview.clear(block=True)


HELPER = "import math\ndef helper(x): return 2 * x\n"


@pytest.mark.parametrize(
    "expression",
    [
        "sum(helper(i) for i in range(3))",
        "[helper(i) for i in range(3)]",
        "{helper(i): math.sqrt(i) for i in range(3) if helper(i) > 1}",
        "sorted([3, 1], key=lambda t: math.sqrt(helper(t)))",
        "(lambda: (lambda: helper(1))())()",
        "list(map(lambda v: [helper(w) for w in range(v)], range(3)))",
        "__import__('concurrent.futures').futures.ThreadPoolExecutor(2).submit(lambda: helper(4)).result()",
    ],
)
def test_nested_code_finds_names_of_the_prompt(define, dview, expression):
    call = define(HELPER + f"call = lambda: {expression}").call
    assert dview.apply_sync(call) == [call()] * 4


CODE = {
    "cached": "import functools\n@functools.lru_cache\ndef g(n): return n if n < 2 else g(n - 1) + g(n - 2)",
    "partial": "import functools\ng = functools.partial(pow, 2)",
    "instance": "class G:\n    def __call__(self, n): return n + len(vars(self))\ng = G()",
    "decorated": """
import functools
def twice(f):
    @functools.wraps(f)
    def inner(n): return 2 * f(n)
    return inner
@twice
def g(n): return n + 1""",
    "dispatched": """
import functools
@functools.singledispatch
def g(n): return 'any'
@g.register
def _(n: int): return kind(n)
def kind(n): return type(n).__name__""",
    "recursive": "def g(n): return n == 0 or h(n - 1)\ndef h(n): return n != 0 and g(n - 1)",
    "jitted": "import numba\n@numba.njit\ndef h(n): return n + 1\n@numba.njit\ndef g(n): return h(n) * 2",
    "vectorised": "import numpy as np\ng = np.vectorize(lambda n: n + 1, otypes=[int])",
}


@pytest.mark.parametrize("source", CODE.values(), ids=CODE)
def test_all_that_is_code_is_sent(define, dview, source):
    view = dview
    if "numba" in source:
        pytest.importorskip("numba")
        view = dview.client[:1]  # importing and compiling with numba takes seconds on each engine
    main = define(source + "\ncall = lambda n: [g(k) for k in (n,)]")
    assert view.apply_sync(main.call, 5) == [main.call(5)] * len(view)
    assert view.apply_sync(main.g, 5) == [main.g(5)] * len(view)


def test_names_of_the_engine_have_priority(define, dview):
    call = define(HELPER + "call = lambda: [helper(1) for _ in 'a']").call
    assert dview.apply_sync(call) == [[2]] * 4
    dview.execute("def helper(x): return rank", block=True)
    assert dview.apply_sync(call) == [[0], [1], [2], [3]]
    dview.execute("del helper", block=True)
    assert dview.apply_sync(call) == [[2]] * 4


def test_changes_at_the_prompt_reach_the_engines(define, dview):
    main = define(HELPER + "call = lambda: [helper(1) for _ in 'a']")
    assert dview.apply_sync(main.call) == [[2]] * 4
    define("def helper(x): return x - 1")
    assert dview.apply_sync(main.call) == [[0]] * 4
    main.helper.__code__ = (lambda x: x + 10).__code__
    assert dview.apply_sync(main.call) == [[11]] * 4
    define("helper = abs")
    assert dview.apply_sync(main.call) == [[1]] * 4
    define("helper = 5")  # now the name is data, so the sent function is removed
    with pytest.raises(CompositeError, match="helper"):
        dview.apply_sync(main.call)


def test_a_builtin_that_the_prompt_has_replaced(define, dview):
    main = define("call = lambda: [sum([n, n]) for n in (1, 2)]")
    assert dview.apply_sync(main.call) == [[2, 4]] * 4
    define("def sum(items): return 'mine'")
    assert dview.apply_sync(main.call) == [["mine"] * 2] * 4
    define("del sum")
    assert dview.apply_sync(main.call) == [[2, 4]] * 4


def test_data_is_not_sent(define, dview):
    main = define("DATA = [1]\ncall = lambda: DATA")
    with pytest.raises(CompositeError, match="DATA"):
        dview.apply_sync(main.call)
    dview["DATA"] = [2]
    assert dview.apply_sync(main.call) == [[2]] * 4


def test_imports_of_engines_stay(define, dview):
    main = define("import math as m\ncall = lambda: m.__name__")
    assert dview.apply_sync(main.call) == ["math"] * 4
    dview.execute("import math as m", block=True)
    define("import cmath as m")
    assert dview.apply_sync(main.call) == ["math"] * 4


def test_unavailable_code_raises_only_when_it_is_used(define, dview):
    main = define("import sys\nsys.modules['no_such'] = no_such = type(sys)('no_such')\n")
    try:
        define("call = lambda n: n if n else no_such.x")
        assert dview.apply_sync(main.call, 1) == [1] * 4
        with pytest.raises(CompositeError, match=r"no_such.*ModuleNotFoundError"):
            dview.apply_sync(main.call, 0)
    finally:
        del main.sys.modules["no_such"]


def test_random_numbers_differ(dview):
    for f in (np.random.rand, random.random):
        values = dview.apply_sync(f) + dview.apply_sync(f)
        assert len(set(values)) == 8
    assert len(set(dview.map_sync(random.gauss, [0] * 8, [1] * 8))) == 8


def test_modules_are_those_of_the_engine(dview):
    dview.apply_sync(sys.path.append, "/no/such/place")
    assert dview.apply_sync(lambda: __import__("sys").path[-1]) == ["/no/such/place"] * 4
    dview.apply_sync(sys.path.remove, "/no/such/place")
    dview.apply_sync(os.environ.update, {"MARK": "1"})
    assert dview.apply_sync(os.environ.get, "MARK") == dview.apply_sync(os.getenv, "MARK") == ["1"] * 4
    dview.apply_sync(os.environ.pop, "MARK")


CLASSES = """
import abc, dataclasses, enum, typing
T = typing.TypeVar('T')
@dataclasses.dataclass
class Point:
    x: int
    tags: list = dataclasses.field(default_factory=list)
    def moved(self, by): return Point(self.x + by, [*self.tags, Tag('moved')])
class Tag(typing.NamedTuple):
    name: str
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
    def other(self): return Colour.BLUE if self is Colour.RED else Colour.RED
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
    def __eq__(self, other): return type(self) is type(other) and vars(self) == vars(other)
class Square(Shape):
    __hash__ = None
    def __init__(self, side): self.side = side
    def area(self): return self.side ** 2
    def grown(self): return Square(self.side + 1)
class Slotted:
    __slots__ = ('a',)
    def __init__(self, a): self.a = a
    def __eq__(self, other): return type(other) is Slotted and other.a == self.a
    def again(self): return Slotted(self.a)
class Box(typing.Generic[T]):
    def __init__(self, item: T): self.item = item
    def __eq__(self, other): return isinstance(other, Box) and self.item == other.item
    def boxed(self): return Box(self)
"""


@pytest.mark.parametrize(
    "expression",
    [
        "Point(3).moved(1)",
        "Colour.RED.other()",
        "Square(2).grown()",
        "Slotted([1]).again()",
        "Box(Slotted(3)).boxed()",
        "[Tag('a'), Point(1)]",
    ],
)
def test_objects_of_the_prompts_classes_make_the_round_trip(define, dview, expression):
    main = define(CLASSES + f"call = lambda: {expression}")
    here = main.call()
    for came in dview.apply_sync(main.call):
        assert came == here and type(came) is type(here)
    dview["sent"] = here
    for came in dview["sent"]:
        assert came == here and type(came) is type(here)
    assert (
        repr(main.call()).split(" at ")[0] == repr(here).split(" at ")[0]
    )  # the client's classes are unchanged
    main.pickle = pickle
    define("through = lambda: pickle.loads(pickle.dumps(sent))")
    assert dview.apply_sync(main.through) == [here] * 4


def test_engines_send_objects_of_the_prompts_classes_to_each_other(define, dview):
    main = define(CLASSES + "call = lambda p: comm.allgather(p.moved(rank))")
    assert dview.apply_sync(main.call, main.Point(1))[0] == [main.Point(1).moved(k) for k in range(4)]


def test_changed_and_redefined_classes(define, dview):
    main = define("class A:\n    def f(self): return 1\ncall = lambda: A().f()\ngiven = lambda a: a.f()")
    a = main.A()
    assert dview.apply_sync(main.call) == dview.apply_sync(main.given, a) == [1] * 4
    main.A.f = lambda self: 2
    assert dview.apply_sync(main.call) == dview.apply_sync(main.given, a) == [2] * 4
    define("class A:\n    def f(self): return 3")
    assert dview.apply_sync(main.call) == [3] * 4
    assert dview.apply_sync(main.given, a) == [2] * 4


def test_changes_of_class_attributes_stay_on_the_engine(define, dview):
    main = define(
        "class Count:\n    n = 0\n    def more(self):\n        type(self).n += 1\n        return Count.n\n"
        "call = lambda c: c.more()"
    )
    c = main.Count()
    assert [dview.apply_sync(main.call, c)[0] for _ in range(3)] == [1, 2, 3]
    assert main.Count.n == 0


def test_functions_of_the_engines_work_at_the_prompt(define, dview):
    dview.execute(
        "def outer(x): return [inner(v) for v in (x, here)]\ndef inner(x): return x * 3", block=True
    )
    main = define("here = 2")
    assert [f(1) for f in dview["outer"]] == [[3, 6]] * 4
    assert "inner" not in vars(main)


def test_stored_functions_see_the_names_sent_with_them(define, dview):
    main = define(HELPER + "def f(x): return [helper(v) for v in (x,)]")
    dview["f"] = main.f
    dview.execute("y = f(3)", block=True)
    assert dview["y"] == [[6]] * 4


def test_names_sent_with_code_are_not_listed_by_ipython(define, dview):
    main = define(HELPER + "call = lambda: helper(math.pi)")
    dview.apply_sync(main.call)
    dview.execute("own = 1", block=True)
    shown = dview.execute("%who", silent=False, block=True).stdout
    assert all("own" in text and "helper" not in text and "math" not in text for text in shown)
