# -- a helper of a helper of a helper
def a(x):
    return x + 1

def b(x):
    return a(x) * 2

def c(x):
    return b(x) - 3

dv.map_sync(c, [1, 2, 3])

# -- a module in the key of sorted
import math

dv.apply_sync(lambda: sorted([3, 1, 2], key=lambda t: -math.sqrt(t)))

# -- a helper in the key of max
def distance(p):
    return abs(p[0]) + abs(p[1])

dv.apply_sync(lambda ps: max(ps, key=lambda p: distance(p)), [(1, 2), (-4, 1), (0, 0)])

# -- a helper as the key itself
def last(word):
    return word[-1], len(word)

dv.apply_sync(lambda ws: sorted(ws, key=last), ["beta", "alpha", "gamma", "x"])

# -- an inner function that uses a helper
def square(x):
    return x * x

def norm(v):
    def add(total, x):
        return total + square(x)
    total = 0
    for x in v:
        total = add(total, x)
    return total**0.5

dv.apply_sync(norm, [3, 4])

# -- mutual recursion
def even(n):
    return True if n == 0 else odd(n - 1)

def odd(n):
    return False if n == 0 else even(n - 1)

dv.map_sync(even, range(6))

# -- recursion with a cache in a default
def fib(n, memo={}):
    if n < 2:
        return n
    if n not in memo:
        memo[n] = fib(n - 1) + fib(n - 2)
    return memo[n]

dv.apply_sync(fib, 50)

# -- Ackermann
def ackermann(m, n):
    if m == 0:
        return n + 1
    return ackermann(m - 1, 1 if n == 0 else ackermann(m, n - 1))

dv.apply_sync(ackermann, 2, 3)

# -- towers of Hanoi
def hanoi(n, a="A", b="B", c="C"):
    return [] if n == 0 else hanoi(n - 1, a, c, b) + [(a, c)] + hanoi(n - 1, b, a, c)

dv.apply_sync(hanoi, 3)

# -- a recursive descent parser of four functions
import re

def tokens(text):
    return re.findall(r"\d+|[-+*/()]", text)

def expression(ts):
    value = term(ts)
    while ts and ts[0] in "+-":
        value = value + term(ts) if ts.pop(0) == "+" else value - term(ts)
    return value

def term(ts):
    value = factor(ts)
    while ts and ts[0] in "*/":
        value = value * factor(ts) if ts.pop(0) == "*" else value / factor(ts)
    return value

def factor(ts):
    t = ts.pop(0)
    if t == "(":
        value = expression(ts)
        ts.pop(0)
        return value
    return int(t)

dv.map_sync(lambda s: expression(tokens(s)), ["1+2*3", "(1+2)*3", "2*(3+4)*5-1", "8/4"])

# -- recursion too deep is the same error
# raises: RecursionError
def down(n):
    return down(n + 1)

def safe():
    try:
        down(0)
    except RecursionError:
        raise RecursionError("too deep") from None

dv.apply_sync(safe)

# -- a helper that was redefined between two calls
def f(x):
    return x + 1

def g(x):
    return f(x)

before = dv.apply_sync(g, 1)

def f(x):
    return x + 100

before, dv.apply_sync(g, 1)

# -- a lambda that was redefined between two calls
f = lambda x: x
use = lambda x: [f(y) for y in range(x)]
before = dv.apply_sync(use, 3)
f = lambda x: -x
before, dv.apply_sync(use, 3)

# -- a helper that became another kind of thing
import math

def root(x):
    return "mine"

def use(x):
    return root(x)

before = dv.apply_sync(use, 9)

root = math.sqrt

before, dv.apply_sync(use, 9)

# -- a helper that is defined after the function that uses it
def use(x):
    return later(x)

def later(x):
    return x * 11

dv.apply_sync(use, 2)

# -- a helper that was renamed
def old(x):
    return x - 1

new = old
del old

dv.apply_sync(lambda x: new(x), 5)

# -- functions in a dict
def add(a, b):
    return a + b

def sub(a, b):
    return a - b

def calculate(op, a, b, table):
    return table[op](a, b)

dv.map_sync(lambda op: calculate(op, 5, 3, {"+": add, "-": sub}), ["+", "-"])

# -- functions in a list as the argument
def inc(x):
    return x + 1

def double(x):
    return x * 2

dv.apply_sync(lambda fs, x: [f(x) for f in fs], [inc, double, lambda x: inc(double(x))], 5)

# -- functions in a dict as the argument
def mean(xs):
    return sum(xs) / len(xs)

def spread(xs):
    return max(xs) - min(xs)

dv.apply_sync(lambda fs, xs: {k: f(xs) for k, f in fs.items()}, {"mean": mean, "spread": spread}, [1, 5, 6])

# -- a function of the prompt as the argument
def integrate(f, a, b, n):
    h = (b - a) / n
    return h * sum(f(a + (i + 0.5) * h) for i in range(n))

def parabola(x):
    return x * x

dv.apply_sync(integrate, parabola, 0.0, 1.0, 100)

# -- a Newton iteration with its derivative
def derivative(f, x, h=1e-6):
    return (f(x + h) - f(x - h)) / (2 * h)

def newton(f, x):
    for _ in range(20):
        x -= f(x) / derivative(f, x)
    return round(x, 9)

dv.map_sync(lambda a: newton(lambda x: x * x - a, 1.0), [2.0, 9.0])

# -- positional-only, keyword-only, defaults, *args and **kwargs
def f(a, b=2, /, c=3, *args, d=4, **kwargs):
    return a, b, c, args, d, sorted(kwargs.items())

def g(*args, **kwargs):
    return f(*args, **kwargs)

dv.apply_sync(g, 1), dv.apply_sync(g, 1, 2, 5, 6, 7, d=8, e=9)

# -- keyword-only defaults that are helpers
def loss(x):
    return x * x

def fit(x, *, loss=loss, scale=2):
    return scale * loss(x)

dv.apply_sync(fit, 3), dv.apply_sync(fit, 3, loss=abs)

# -- a default that is a class and one that is a function
class Stats:
    def __init__(self):
        self.n = 0

def count(xs, make=Stats, f=lambda x: x > 1):
    s = make()
    s.n = sum(map(f, xs))
    return s

dv.apply_sync(count, [1, 2, 3])

# -- a helper with attributes
def f(x):
    f.calls += 1
    return x

f.calls = 0

def use(n):
    for i in range(n):
        f(i)
    return n

dv.apply_sync(use, 3)

# -- an attribute of a helper is data that it carries
def tolerance(x):
    return x < tolerance.limit

tolerance.limit = 0.5

dv.map_sync(lambda x: tolerance(x), [0.1, 0.9])

# -- the docstring, the name and the annotations travel
def area(r: float = 1.0) -> float:
    """Of a circle."""
    return 3 * r * r

def describe(f):
    return f.__name__, f.__doc__, f.__annotations__, f.__defaults__, f.__module__

dv.apply_sync(describe, area)

# -- the signature of a helper
import inspect

def f(a, *, b: int = 3, **rest):
    pass

dv.apply_sync(lambda: str(inspect.signature(f)))

# -- a long if chain of helpers, only one of which is called
def north(): return "n"
def south(): return "s"
def east(): return "e"
def west(): return "w"

def go(d):
    if d == 0:
        return north()
    elif d == 1:
        return south()
    return east() if d == 2 else west()

dv.map_sync(go, range(4))

# -- twenty helpers
for k in range(20):
    exec(f"def h{k}(x):\n    return x + {k}" + (f" + h{k - 1}(x)" if k else ""))

dv.apply_sync(lambda x: h19(x), 1)

# -- a helper with the name of a builtin
def sum(xs):
    return "my sum"

def max(*xs):
    return "my max"

dv.apply_sync(lambda: (sum([1, 2]), [max(1, 2) for _ in range(2)], min(3, 4)))

# -- a helper that is called in an f-string
def unit(x):
    return f"{x} m/s"

dv.map_sync(lambda x: f"v = {unit(x):>10}|{unit(x)!r}", [1.5, 20])

# -- a helper in a slice, a subscript and a starred expression
def half(n):
    return n // 2

def parts(xs):
    return [*xs[: half(len(xs))], -1, *xs[half(len(xs)) :]], xs[half(len(xs))]

dv.apply_sync(parts, [1, 2, 3, 4])

# -- a helper in an assert and a conditional import
def valid(x):
    return x > 0

def f(x):
    assert valid(x), "not valid"
    if valid(x):
        import math
        return math.floor(x)

dv.apply_sync(f, 2.7)
