# -- a helper in a generator expression
def helper(i):
    return i * i

dv.apply_sync(lambda: sum(helper(i) for i in range(3)))

# -- a helper in a list comprehension
def weight(i):
    return 2 * i + 1

def weights(n):
    return [weight(i) for i in range(n)]

dv.apply_sync(weights, 5)

# -- a module in a list comprehension
import math

def roots(n):
    return [math.sqrt(i) for i in range(n)]

dv.apply_sync(roots, 5)

# -- a dict comprehension with helpers as keys and values
def key(i):
    return f"k{i}"

def value(i):
    return i**3

def table(n):
    return {key(i): value(i) for i in range(n)}

dv.apply_sync(table, 4)

# -- a set comprehension with a helper as condition
def is_prime(n):
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))

dv.apply_sync(lambda n: {p for p in range(n) if is_prime(p)}, 30)

# -- nested comprehensions
def f(i, j):
    return 10 * i + j

def matrix(n):
    return [[f(i, j) for j in range(n)] for i in range(n)]

dv.apply_sync(matrix, 3)

# -- two loops and a condition in one
def coprime(a, b):
    while b:
        a, b = b, a % b
    return a == 1

dv.apply_sync(lambda n: [(a, b) for a in range(1, n) for b in range(a) if coprime(a, b)], 6)

# -- a helper in the innermost iterable
def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]

def pairs(n):
    return [(k, d) for k in range(1, n) for d in divisors(k)]

dv.apply_sync(pairs, 5)

# -- a comprehension of lambdas that use a helper
def shift(x):
    return x + 100

def apply_all(x):
    return [g(x) for g in [lambda x, k=k: shift(x) * k for k in range(3)]]

dv.apply_sync(apply_all, 1)

# -- a comprehension inside a lambda inside a comprehension
def h(x):
    return x - 1

dv.apply_sync(lambda: [(lambda n: [h(j) for j in range(n)])(i) for i in range(4)])

# -- a conditional expression that chooses between helpers
def positive(x):
    return ("+", x)

def negative(x):
    return ("-", -x)

dv.apply_sync(lambda xs: [positive(x) if x >= 0 else negative(x) for x in xs], [3, -4, 0])

# -- a comprehension in a default value
def sizes(n, table=[i**2 for i in range(5)]):
    return table[n]

dv.map_sync(sizes, [1, 4])

# -- a comprehension in the body of a class
class Table:
    squares = [i * i for i in range(5)]
    names = {i: f"n{i}" for i in range(3)}

dv.apply_sync(lambda: (Table.squares, Table.names))

# -- a class that is instantiated in a comprehension
class Cell:
    def __init__(self, i):
        self.i = i

    def __repr__(self):
        return f"Cell({self.i})"

dv.apply_sync(lambda n: [Cell(i) for i in range(n)], 3)

# -- any, all, sum, min, max with generator expressions
def score(x):
    return (x * 7) % 5

def summary(xs):
    return (
        any(score(x) == 4 for x in xs),
        all(score(x) < 5 for x in xs),
        sum(score(x) for x in xs),
        min(score(x) for x in xs),
        max((score(x), x) for x in xs),
    )

dv.apply_sync(summary, list(range(10)))

# -- a dict turned around
def turned(d):
    return {v: k for k, v in d.items()}

dv.apply_sync(lambda d: turned(turned(d)), {"a": 1, "b": 2})

# -- flattening with a recursive helper
def flat(xs):
    return [y for x in xs for y in (flat(x) if isinstance(x, list) else [x])]

dv.apply_sync(flat, [1, [2, [3, [4]], 5]])

# -- a comprehension over zip and enumerate with a module's function
import operator

dv.apply_sync(lambda a, b: [operator.mul(x, y) + i for i, (x, y) in enumerate(zip(a, b))], [1, 2], [3, 4])

# -- a join of formatted pieces
def fmt(x):
    return f"{x:.2f}"

dv.apply_sync(lambda xs: ", ".join(fmt(x) for x in xs), [1, 2.345, 1e3])

# -- numpy in a comprehension
import numpy as np

def blocks(n):
    return np.block([[np.eye(2) * i if i == j else np.zeros((2, 2)) for j in range(n)] for i in range(n)])

dv.apply_sync(blocks, 2)

# -- map and filter with helpers
def odd(n):
    return n % 2 == 1

def triple(n):
    return 3 * n

dv.apply_sync(lambda n: list(map(triple, filter(odd, range(n)))), 8)

# -- a comprehension with a walrus
def f(x):
    return x * x - 4

dv.apply_sync(lambda xs: [y for x in xs if (y := f(x)) > 0], range(-4, 5))
