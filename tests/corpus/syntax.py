# -- match on sequences and literals
def command(words):
    match words:
        case ["go", direction]:
            return move(direction)
        case ["take", *things] if things:
            return sorted(things)
        case [] | ["wait"]:
            return "waiting"
        case _:
            return "?"

def move(d):
    return f"to the {d}"

dv.map_sync(lambda s: command(s.split()), ["go north", "take b a", "", "sing"])

# -- match on mappings
def area(shape):
    match shape:
        case {"kind": "circle", "r": r}:
            return round(pi_times(r * r), 2)
        case {"kind": "rect", "sides": [a, b], **rest}:
            return a * b, rest

def pi_times(x):
    return 3.14159 * x

dv.map_sync(area, [{"kind": "circle", "r": 2}, {"kind": "rect", "sides": [2, 3], "name": "x"}])

# -- match on classes of the prompt
class Num:
    __match_args__ = ("value",)

    def __init__(self, value):
        self.value = value

class Add:
    __match_args__ = ("left", "right")

    def __init__(self, left, right):
        self.left, self.right = left, right

class Mul(Add):
    pass

def evaluate(e):
    match e:
        case Num(v):
            return v
        case Mul(a, b):
            return evaluate(a) * evaluate(b)
        case Add(a, b):
            return evaluate(a) + evaluate(b)

dv.apply_sync(evaluate, Add(Num(2), Mul(Num(3), Num(4)))), dv.apply_sync(lambda: evaluate(Add(Num(1), Num(1))))

# -- match on types and with captures
def kind(x):
    match x:
        case bool():
            return "bool"
        case int(n) if n > 10:
            return f"large {n}"
        case int() | float() as n:
            return f"number {n}"
        case str(s):
            return s.upper()
        case (a, (b, c)):
            return a + b + c
        case None:
            return "none"

dv.map_sync(kind, [True, 50, 2.5, "a", (1, (2, 3)), None])

# -- a walrus in a condition, a while and a comprehension
def f(x):
    return x % 5

def use(xs):
    out, it = [], iter(xs)
    while (x := next(it, None)) is not None:
        if (y := f(x)) > 2:
            out.append((x, y))
    return out, [z for x in xs if (z := f(x))], z

dv.apply_sync(use, [3, 5, 9, 12])

# -- f-strings with nested formats
def width():
    return 8

dv.apply_sync(lambda x: (f"{x:{width()}.2f}|", f"{x!r:>{width()}}|", f"{x=}", f"{'a' if x > 1 else 'b'}"), 2.5)

# -- chained comparisons, conditional expressions and boolean operators
def low():
    return 1

def high():
    return 5

dv.map_sync(lambda x: ("in" if low() <= x < high() else "out", x and low(), not x or high()), [0, 3, 9])

# -- unpacking in calls and displays
def f(*args, **kw):
    return args, kw

def pair():
    return [1, 2]

def more():
    return {"k": 3}

dv.apply_sync(lambda: (f(*pair(), 0, *pair(), **more(), z=1), [*pair(), *more()], {**more(), "x": 1}))

# -- loops with else, break and continue
def prime(n):
    for d in range(2, n):
        if divides(d, n):
            break
    else:
        return n > 1
    return False

def divides(d, n):
    return n % d == 0

dv.apply_sync(lambda n: [k for k in range(n) if prime(k)], 20)

# -- slices, steps, del and augmented assignment
def use(xs):
    xs = list(xs)
    del xs[::3]
    xs[1:2] = fill(2)
    xs[-1] += 10
    return xs

def fill(n):
    return [0] * n

dv.apply_sync(use, range(8))

# -- lambda defaults and immediately called lambdas
def k():
    return 3

dv.apply_sync(lambda: (lambda x, y=2: x * y + k())(5))

# -- try and except in a loop inside a nested function
def convert(x):
    return int(x)

def clean(rows):
    def one(row):
        for cell in row:
            try:
                yield convert(cell)
            except ValueError:
                yield None
    return [list(one(r)) for r in rows]

dv.apply_sync(clean, [["1", "x"], ["3"]])

# -- several with statements in one, in brackets
import io

def text(s):
    return io.StringIO(s)

def use():
    with (
        text("a\nb") as a,
        text("c") as b,
    ):
        return a.readlines(), b.read()

dv.apply_sync(use)

# -- nested functions that share and shadow names
def x():
    return "global x"

def outer():
    y = x()

    def middle():
        x = "middle x"

        def inner():
            return x, y
        return inner()
    return middle(), x()

dv.apply_sync(outer)

# -- a class body that uses helpers, a loop and a condition
def field(name):
    return f"field {name}"

class Form:
    for _name in ("a", "b"):
        locals()[_name] = field(_name)
    if True:
        extra = field("extra")
    del _name

dv.apply_sync(lambda: (Form.a, Form.b, Form.extra))

# -- a lambda in a class body, and one as a method
def helper(x):
    return x + 1

class Ops:
    table = {"inc": lambda x: helper(x), "dec": lambda x: x - 1}
    inc = lambda self, x: helper(x)

dv.apply_sync(lambda: (Ops.table["inc"](1), Ops().inc(5)))

# -- recursion through a lambda
fact = lambda n: 1 if n < 2 else n * fact(n - 1)

dv.map_sync(fact, range(6)), dv.apply_sync(lambda: [fact(n) for n in (10, 20)])

# -- positional-only parameters and keywords of the same name
def f(self, /, **kw):
    return self, kw

dv.apply_sync(f, 1, self=2), dv.apply_sync(lambda: f(3, self=4))

# -- a docstring, an ellipsis and a pass
def todo():
    """Later."""
    ...

class Empty:
    pass

dv.apply_sync(lambda: (todo(), todo.__doc__, type(Empty()).__name__, ...))

# -- a semicolon, a backslash and odd layout
def f(x): y = x + 1; return y
g = lambda x: \
    f(x) + \
    1

dv.apply_sync(lambda: g(1))

# -- global and local names in an assert message and a delete
def name(x):
    return f"<{x}>"

def check(x):
    y = x
    del x
    assert y, name(y)
    return name(y)

dv.apply_sync(check, 1)
