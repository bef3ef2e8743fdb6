# -- an exception of the prompt's own class is raised
# raises: Negative
class Negative(ValueError):
    pass

def root(x):
    if x < 0:
        raise Negative(f"{x} has no root")
    return x**0.5

dv.apply_sync(root, -4)

# -- an exception is caught by its class there
class Negative(ValueError):
    pass

def check(x):
    if x < 0:
        raise Negative(x)
    return x

def safe(x):
    try:
        return check(x)
    except Negative as e:
        return ("caught", e.args)

dv.map_sync(safe, [1, -1])

# -- a hierarchy of exceptions
class AppError(Exception):
    code = 1

class NotFound(AppError):
    code = 404

class Denied(AppError):
    code = 403

def fail(k):
    raise [NotFound, Denied, AppError][k]("x")

def status(k):
    try:
        fail(k)
    except NotFound as e:
        return "not found", e.code
    except AppError as e:
        return type(e).__name__, e.code

dv.map_sync(status, range(3))

# -- an exception as the result
class MyError(Exception):
    pass

back = dv.apply_sync(lambda: MyError("a", 1))
type(back) is MyError, back.args, isinstance(back, Exception)

# -- an exception with attributes and its own constructor
class HttpError(Exception):
    def __init__(self, code, reason=""):
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason

    def __reduce__(self):
        return HttpError, (self.code, self.reason)

back = dv.apply_sync(lambda: HttpError(404, "none"))
back.code, str(back), back

# -- an exception with a constructor of two arguments is raised
# raises: Odd
class Odd(Exception):
    def __init__(self, a, b):
        self.a, self.b = a, b

    def __str__(self):
        return f"{self.a} and {self.b}"

def fail():
    raise Odd(1, b=2)

dv.apply_sync(fail)

# -- raise from
def parse(text):
    try:
        return int(text)
    except ValueError as e:
        raise RuntimeError(f"bad line {text!r}") from e

def use(text):
    try:
        parse(text)
    except RuntimeError as e:
        return str(e), type(e.__cause__).__name__, e.__suppress_context__

dv.apply_sync(use, "x1")

# -- finally, else and return
def flow(x):
    log = []
    try:
        log.append(1 / x)
    except ZeroDivisionError:
        log.append("zero")
    else:
        log.append("else")
    finally:
        log.append("finally")
    return log

dv.map_sync(flow, [0, 4])

# -- the message of a KeyError
# raises: KeyError
def lookup(table, key):
    return table[key]

dv.apply_sync(lookup, {"a": 1}, "b")

# -- an assertion
# raises: AssertionError
def check(x):
    assert x > 0, f"x is {x}"

dv.apply_sync(check, -3)

# -- a ZeroDivisionError in a nested helper
# raises: ZeroDivisionError
def ratio(a, b):
    return a / b

dv.apply_sync(lambda xs: [ratio(1, x) for x in xs], [1, 0])

# -- an error in a map
# raises: ValueError
dv.map_sync(lambda x: int(x), ["1", "x", "3"])

# -- a TypeError for wrong arguments
# raises: TypeError
def f(a, b):
    return a

dv.apply_sync(f, 1)

# -- a NameError that is the program's own
# raises: NameError
def f():
    return no_such_name_anywhere

dv.apply_sync(f)

# -- an UnboundLocalError
# raises: UnboundLocalError
def f():
    if False:
        x = 1
    return x

dv.apply_sync(f)

# -- StopIteration out of a helper
# raises: RuntimeError
def g():
    yield next(iter([]))

dv.apply_sync(lambda: list(g()))

# -- an error of numpy
# raises: LinAlgError
import numpy as np

dv.apply_sync(lambda: np.linalg.inv(np.zeros((2, 2))))

# -- an exception without a message
# raises: Quiet
class Quiet(Exception):
    pass

def f():
    raise Quiet

dv.apply_sync(f)

# -- retry with an exception of the prompt
class Busy(Exception):
    pass

def attempt(state):
    state["n"] += 1
    if state["n"] < 3:
        raise Busy(state["n"])
    return state["n"]

def retry(f, *args):
    errors = []
    while True:
        try:
            return f(*args), errors
        except Busy as e:
            errors.append(e.args[0])

dv.apply_sync(lambda: retry(attempt, {"n": 0}))

# -- sys.exc_info and traceback names
import sys
import traceback

def inner():
    raise LookupError("deep")

def use():
    try:
        inner()
    except LookupError:
        kind, value, tb = sys.exc_info()
        return kind.__name__, [f.name for f in traceback.extract_tb(tb)]

dv.apply_sync(use)

# -- the traceback has the line of the source
import traceback

def risky(x):
    return 1 / x  # the line in question

def use():
    try:
        risky(0)
    except ZeroDivisionError:
        return "1 / x  # the line in question" in traceback.format_exc()

dv.apply_sync(use)

# -- exceptions collected from many tries
def attempt(x):
    try:
        return 10 // x
    except Exception as e:
        return f"{type(e).__name__}: {e}"

dv.map_sync(attempt, [1, 0, "a"])

# -- a warning category of the prompt
import warnings

class Precision(UserWarning):
    pass

def use():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.warn("low", Precision)
    return seen[0].category is Precision

dv.apply_sync(use)

# -- an exception class with class attributes and a factory
class ParseError(Exception):
    template = "line {line}: {what}"

    @classmethod
    def at(cls, line, what):
        return cls(cls.template.format(line=line, what=what))

def parse(lines):
    for n, text in enumerate(lines, 1):
        if "=" not in text:
            raise ParseError.at(n, "no =")

def use(lines):
    try:
        parse(lines)
    except ParseError as e:
        return str(e)

dv.apply_sync(use, ["a=1", "b"])
