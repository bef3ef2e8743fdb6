# -- a counter with nonlocal
def make_counter(start):
    count = start

    def step():
        nonlocal count
        count += 1
        return count

    return step

def count_to(n):
    counter = make_counter(0)
    return [counter() for _ in range(n)]

dv.apply_sync(count_to, 4)

# -- a closure made at the prompt is sent
def power(n):
    def raised(x):
        return x**n
    return raised

cube = power(3)

dv.map_sync(cube, range(6))

# -- two closures share a cell
def account(balance):
    def deposit(amount):
        nonlocal balance
        balance += amount
        return balance

    def current():
        return balance

    return deposit, current

def day():
    deposit, current = account(100)
    deposit(20)
    deposit(-5)
    return current()

dv.apply_sync(day)

# -- both halves of a shared cell travel together
# once
def pair():
    total = 0

    def add(x):
        nonlocal total
        total += x

    def read():
        return total

    return add, read

add, read = pair()

def use(add, read):
    add(3)
    add(4)
    return read()

dv.apply_sync(use, add, read)

# -- late binding of a loop variable
fs = [lambda x: x + i for i in range(3)]

dv.map_sync(lambda f: f(10), fs)

# -- early binding by a default
fs = [lambda x, i=i: x + i for i in range(3)]

dv.map_sync(lambda f: f(10), fs)

# -- a closure over an array
import numpy as np

def projector(direction):
    unit = direction / np.linalg.norm(direction)
    return lambda v: float(np.dot(unit, v))

along = projector(np.array([3.0, 4.0]))

dv.map_sync(along, [np.array([1.0, 0.0]), np.array([0.0, 2.0]), np.array([5.0, 5.0])])

# -- a closure over a large array
import numpy as np

def model(weights):
    def predict(x):
        return float(weights @ np.full(len(weights), x))
    return predict

dv.apply_sync(model(np.arange(50_000.0)), 0.5)

# -- a closure over a helper
def scale(x):
    return 3 * x

def twice(f):
    return lambda x: f(f(x))

dv.map_sync(twice(scale), [1, 2, 3])

# -- a closure over itself: recursion of an inner function
def outer(n):
    def fib(k):
        return k if k < 2 else fib(k - 1) + fib(k - 2)
    return fib(n)

dv.apply_sync(outer, 12)

# -- an inner recursive function is sent itself
def make():
    def collatz(n, steps=0):
        if n == 1:
            return steps
        return collatz(n // 2 if n % 2 == 0 else 3 * n + 1, steps + 1)
    return collatz

dv.map_sync(make(), range(1, 8))

# -- functions that refer to each other through cells
def make():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n != 0 and even(n - 1)

    return even

dv.map_sync(make(), range(5))

# -- three levels deep
def a(x):
    def b(y):
        def c(z):
            return x * 100 + y * 10 + z
        return c
    return b

dv.map_sync(a(1)(2), range(3))

# -- a closure returned by the engine works here
def adder(n):
    return lambda x: x + n

plus = dv.apply_sync(adder, 5)
plus(10)

# -- what the engine returns uses a helper of the prompt
def helper(x):
    return x * 7

def make(n):
    def use(x):
        return helper(x) + n
    return use

use = dv.apply_sync(make, 1)
use(2)

# -- composition of many
from functools import reduce

def compose(*fs):
    return reduce(lambda f, g: lambda x: g(f(x)), fs)

pipeline = compose(lambda x: x + 1, lambda x: x * 2, str)

dv.map_sync(pipeline, [1, 2, 3])

# -- a memo in a closure
def memoize(f):
    memo = {}

    def wrapper(n):
        if n not in memo:
            memo[n] = f(n)
        return memo[n]

    return wrapper

@memoize
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

dv.apply_sync(fib, 60)

# -- a cell that has no value yet
def make():
    def f(flag):
        try:
            return later if flag else "not asked"
        except NameError as e:
            return type(e).__name__
    if False:
        later = 1
    return f

dv.map_sync(make(), [False, True])

# -- a closure over a class of the prompt's
class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def moved(self, dx):
        return Point(self.x + dx, self.y)

def mover(origin):
    def move(dx):
        return origin.moved(dx)
    return move

dv.apply_sync(mover(Point(1, 2)), 10)

# -- a local variable of the same name as a helper
def norm(v):
    return sum(x * x for x in v) ** 0.5

def normalised(v):
    length = norm(v)
    return [(lambda norm: x / norm)(length) for x in v]

dv.apply_sync(normalised, [3.0, 4.0])

# -- a closure over a package of which a submodule is needed
def make():
    import email.mime.text

    def header(text):
        return email.mime.text.MIMEText(text)["Content-Type"]

    return header

dv.map_sync(make(), ["a"])
