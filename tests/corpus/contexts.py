# -- a context manager from a generator of the prompt
from contextlib import contextmanager

def helper(x):
    return x * 2

@contextmanager
def doubled(x):
    yield helper(x)

def use(x):
    with doubled(x) as y:
        return y

dv.apply_sync(use, 4)

# -- ExitStack
from contextlib import ExitStack, contextmanager

@contextmanager
def opened(name, log):
    log.append(f"+{name}")
    yield name
    log.append(f"-{name}")

def use(names):
    log = []
    with ExitStack() as stack:
        got = [stack.enter_context(opened(n, log)) for n in names]
        stack.callback(lambda: log.append("callback"))
    return got, log

dv.apply_sync(use, ["a", "b"])

# -- suppress, redirect_stdout, nullcontext, closing
from contextlib import closing, nullcontext, redirect_stdout, suppress
import io

class Thing:
    closed = False

    def close(self):
        self.closed = True

def use():
    out = io.StringIO()
    with suppress(KeyError), redirect_stdout(out):
        print("hello")
        {}["x"]
    with closing(Thing()) as t, nullcontext(5) as n:
        pass
    return out.getvalue(), t.closed, n

dv.apply_sync(use)

# -- ContextDecorator
from contextlib import ContextDecorator

class track(ContextDecorator):
    log = []

    def __enter__(self):
        self.log.append("in")
        return self

    def __exit__(self, *exc):
        self.log.append("out")

@track()
def f():
    track.log.append("f")
    return list(track.log)

def use():
    track.log.clear()
    return f()

dv.apply_sync(use)

# -- an exception inside with is seen by the manager
from contextlib import contextmanager

@contextmanager
def translated():
    try:
        yield
    except ZeroDivisionError as e:
        raise ValueError("translated") from e

def use():
    try:
        with translated():
            1 / 0
    except ValueError as e:
        return str(e), type(e.__cause__).__name__

dv.apply_sync(use)

# -- a context variable made in a function
from contextvars import ContextVar, copy_context

def read(var):
    return var.get()

def use():
    var = ContextVar("var", default=0)
    var.set(1)
    context = copy_context()
    var.set(2)
    return read(var), context.run(read, var), context.run(lambda: [read(var) for _ in range(2)])

dv.apply_sync(use)

# -- a context variable that the engines have
from contextvars import ContextVar

dv.execute("from contextvars import ContextVar; depth = ContextVar('depth', default=0)")

def nested(n):
    if n == 0:
        return depth.get()
    token = depth.set(depth.get() + 1)
    try:
        return nested(n - 1)
    finally:
        depth.reset(token)

dv.apply_sync(nested, 3), dv.apply_sync(nested, 0)

# -- a context variable of the prompt is data that the engines lack
# error: level
from contextvars import ContextVar

level = ContextVar("level", default=1)

dv.apply_sync(lambda: level.get())

# -- decimal.localcontext
from decimal import Decimal, localcontext

def third(digits):
    with localcontext() as c:
        c.prec = digits
        return Decimal(1) / Decimal(3)

dv.map_sync(third, [3, 30])

# -- numpy.errstate
import numpy as np

def quotient(a, b):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b == 0, 0.0, a / b)

dv.apply_sync(quotient, np.array([1.0, 2.0]), np.array([0.0, 4.0]))

# -- a temporary directory and file
import pathlib
import tempfile

def count(text):
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / "a.txt"
        path.write_text(text)
        with path.open() as f:
            return [len(line.split()) for line in f]

dv.apply_sync(count, "a b\nc\n")

# -- warnings are caught there
import warnings

def risky(x):
    warnings.warn(f"x is {x}", UserWarning)
    return x

def use(x):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        return risky(x), [str(w.message) for w in seen]

dv.apply_sync(use, 3)

# -- nested functions with with and try
class Resource:
    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return True

def risky(n):
    def inner():
        with Resource():
            raise KeyError(n)
        return "survived"
    return inner()

dv.map_sync(risky, [1, 2])
