# -- a decorator of one's own
def twice(f):
    def wrapper(*args):
        return f(*args) * 2
    return wrapper

@twice
def add(a, b):
    return a + b

dv.apply_sync(add, 1, 2)

# -- a decorated helper
import functools

def logged(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f"{f.__name__} -> {f(*args, **kwargs)}"
    return wrapper

@logged
def area(r):
    return 3 * r * r

dv.apply_sync(lambda rs: [area(r) for r in rs], [1, 2])

# -- a decorator with arguments
import functools

def repeat(n):
    def decorate(f):
        @functools.wraps(f)
        def wrapper(x):
            for _ in range(n):
                x = f(x)
            return x
        return wrapper
    return decorate

@repeat(3)
def double(x):
    return 2 * x

dv.map_sync(double, [1, 5])

# -- decorators on top of each other
def bold(f):
    return lambda s: f"<b>{f(s)}</b>"

def italic(f):
    return lambda s: f"<i>{f(s)}</i>"

@bold
@italic
def text(s):
    return s.upper()

dv.apply_sync(text, "hi")

# -- the metadata of a wrapped function
import functools

def plain(f):
    @functools.wraps(f)
    def wrapper(*args):
        return f(*args)
    return wrapper

@plain
def documented(x: int) -> str:
    "What it does."
    return str(x)

dv.apply_sync(lambda f: (f.__name__, f.__doc__, f.__wrapped__(3), f(4)), documented)

# -- a decorator that is a class
class CountCalls:
    def __init__(self, f):
        self.f, self.calls = f, 0

    def __call__(self, *args):
        self.calls += 1
        return self.f(*args), self.calls

@CountCalls
def f(x):
    return x + 1

dv.apply_sync(lambda: [f(1), f(2)][-1][0])

# -- a decorator that is a class, with functools.update_wrapper
import functools

class Traced:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.f = f

    def __call__(self, x):
        return self.__name__, self.f(x)

def helper(x):
    return x * 5

@Traced
def traced(x):
    return helper(x)

dv.apply_sync(traced, 2), dv.apply_sync(lambda: [traced(i) for i in range(2)])

# -- a retry decorator
import functools

def retry(times):
    def decorate(f):
        @functools.wraps(f)
        def wrapper(*args):
            for attempt in range(times):
                try:
                    return f(attempt, *args)
                except ValueError:
                    continue
            raise RuntimeError(f"{times} tries")
        return wrapper
    return decorate

@retry(3)
def flaky(attempt, x):
    if attempt < 2:
        raise ValueError
    return attempt, x

dv.apply_sync(flaky, "x")

# -- a decorated method
def checked(method):
    def wrapper(self, x):
        if x < 0:
            raise ValueError("negative")
        return method(self, x)
    return wrapper

class Root:
    @checked
    def of(self, x):
        return x**0.5

dv.apply_sync(lambda: Root().of(9))

# -- a decorator that needs its descriptor
import functools

class Bound:
    def __init__(self, f):
        self.f = f

    def __get__(self, obj, kind=None):
        return functools.partial(self.f, obj)

class Thing:
    k = 4

    @Bound
    def times(self, x):
        return self.k * x

dv.apply_sync(lambda: Thing().times(3))

# -- a decorator that registers functions in a class attribute
class Commands:
    table = {}

    @classmethod
    def register(cls, f):
        cls.table[f.__name__] = f
        return f

@Commands.register
def up(x):
    return x + 1

@Commands.register
def down(x):
    return x - 1

dv.apply_sync(lambda: {name: f(10) for name, f in Commands.table.items()})

# -- a type-checking decorator that reads annotations
import functools

def typed(f):
    @functools.wraps(f)
    def wrapper(*args):
        for (name, kind), value in zip(f.__annotations__.items(), args):
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be {kind.__name__}")
        return f(*args)
    return wrapper

@typed
def scale(x: float, n: int):
    return x * n

def use(*args):
    try:
        return scale(*args)
    except TypeError as e:
        return str(e)

dv.map_sync(use, [1.5, 1.5], [2, "2"])

# -- a curried function
import inspect

def curry(f):
    n = len(inspect.signature(f).parameters)
    def collect(*args):
        return f(*args) if len(args) >= n else lambda *more: collect(*args, *more)
    return collect

@curry
def volume(a, b, c):
    return a * b * c

dv.apply_sync(lambda: volume(2)(3)(4)), dv.apply_sync(volume(2, 3), 5)

# -- contextlib.contextmanager as decorator and with
import contextlib

@contextlib.contextmanager
def section(log, name):
    log.append("begin " + name)
    try:
        yield name
    finally:
        log.append("end " + name)

def use():
    log = []
    with section(log, "a") as name:
        log.append(name)
    return log

dv.apply_sync(use)

# -- timing decorator that uses a module of the prompt
import time

def timed(f):
    def wrapper(*args):
        start = time.perf_counter()
        result = f(*args)
        return result, time.perf_counter() >= start
    return wrapper

@timed
def work(n):
    return sum(range(n))

dv.apply_sync(work, 100)
