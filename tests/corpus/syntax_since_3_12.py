# needs: python 3.12

# -- a generic function
def first[T](xs: list[T]) -> T:
    return xs[0]

dv.apply_sync(first, [3, 4]), dv.apply_sync(lambda: [first(x) for x in ("ab", "c")])

# -- a generic class
class Stack[T]:
    def __init__(self):
        self.items: list[T] = []

    def push(self, x: T) -> "Stack[T]":
        self.items.append(x)
        return self

back = dv.apply_sync(lambda: Stack[int]().push(1))
back.items, type(back) is Stack

# -- a generic dataclass
from dataclasses import dataclass

@dataclass
class Pair[A, B]:
    a: A
    b: B

    def swapped(self) -> "Pair[B, A]":
        return Pair(self.b, self.a)

dv.apply_sync(lambda p: p.swapped(), Pair(1, "x"))

# -- a type alias
type Vector = list[float]

def norm(v: Vector) -> float:
    return sum(x * x for x in v) ** 0.5

dv.apply_sync(norm, [3.0, 4.0]), dv.apply_sync(lambda: [norm([x]) for x in (1.0, 2.0)])

# -- a bound type parameter
def largest[T: (int, float)](*xs: T) -> T:
    return max(xs, key=key)

def key(x):
    return -x

dv.apply_sync(largest, 3, 1, 2)

# -- f-strings with the same quotes inside
def name():
    return "n"

dv.apply_sync(lambda d: f"{d["a"]} {", ".join(f"{name()}{k}" for k in range(2))}", {"a": 1})

# -- a comprehension in a class body
def f(x):
    return x * 2

class Table:
    values = [f(x) for x in range(3)]

    def again(self):
        return [f(x) for x in self.values]

dv.apply_sync(lambda: Table().again())

# -- override
from typing import override

class Base:
    def f(self):
        return "base"

class Derived(Base):
    @override
    def f(self):
        return "derived " + super().f()

dv.apply_sync(lambda: Derived().f())

# -- itertools.batched
import itertools

dv.apply_sync(lambda xs: [sum(b) for b in itertools.batched(xs, 2)], [1, 2, 3])
