# -- data that only the prompt has is an error that names the remedy
# error: NameError.*DATA.*dv\[.DATA.\] = DATA
DATA = [1, 2, 3]

dv.apply_sync(lambda: sum(DATA))

# -- data that a helper of a helper needs
# error: NameError.*offset.*dv\[.offset.\] = offset
offset = 10

def inner(x):
    return x + offset

def outer(xs):
    return [inner(x) for x in xs]

dv.apply_sync(outer, [1])

# -- data that a method needs
# error: NameError.*table.*dv\[.table.\] = table
table = {"a": 1}

class Lookup:
    def get(self, k):
        return table[k]

dv.apply_sync(lambda: Lookup().get("a"))

# -- data in a generator expression in a thread
# error: NameError.*limits.*dv\[.limits.\] = limits
from concurrent.futures import ThreadPoolExecutor

limits = (1, 2)

def work(x):
    return sum(x for _ in limits)

def use():
    with ThreadPoolExecutor(1) as pool:
        return list(pool.map(work, [1, 2]))

dv.apply_sync(use)

# -- an array is data
# error: NameError.*weights.*dv\[.weights.\] = weights
import numpy as np

weights = np.arange(5.0)

dv.apply_sync(lambda: weights.sum())

# -- an instance that can't be called is data
# error: NameError.*config.*dv\[.config.\] = config
class Config:
    level = 3

config = Config()

dv.apply_sync(lambda: config.level)

# -- data that was pushed
DATA = [1, 2, 3]
dv["DATA"] = DATA

dv.apply_sync(lambda: sum(x * 2 for x in DATA))

# -- data that was pushed for a helper of a helper
scale, shift = 3, 0.5
dv.push(dict(scale=scale, shift=shift))

def inner(x):
    return scale * x + shift

def outer(xs):
    return [inner(x) for x in xs]

dv.apply_sync(outer, [1, 2])

# -- data as argument and as default
DATA = [1, 2, 3]

def total(xs, extra=DATA):
    return sum(xs) + sum(extra)

dv.apply_sync(total, DATA)

# -- the engine's own function comes before the prompt's
# once
def here(x):
    return "the engine's"

dv["here"] = here

dv.apply_sync(lambda: [here(x) for x in range(1)])

# -- a function that was pushed is called by name
def f(x):
    return g(x) + 1

def g(x):
    return x * 100

dv["f"] = f

dv.apply_sync(lambda: f(2)), dv["f(3)"]

# -- a function that was pushed has its helpers in code that is executed
def square(x):
    return x * x

def squares(n):
    return [square(i) for i in range(n)]

dv["squares"] = squares
dv.execute("result = squares(4)")

dv["result"]

# -- a class that was pushed is used in code that is executed
class Acc:
    def __init__(self):
        self.total = 0

    def add(self, x):
        self.total += twice(x)
        return self

def twice(x):
    return 2 * x

dv["Acc"] = Acc
dv.execute("acc = Acc().add(1).add(2)")

dv["acc.total"], dv["acc"]

# -- a helper that code on the engines replaces
def f(x):
    return 1

dv.execute("def g(x): return 'engine g'")

dv.apply_sync(lambda: (f(0), g(0)))

# -- the global statement sets a name there
def remember(x):
    global remembered
    remembered = x

def recall():
    return remembered

dv.apply_sync(remember, 5)
result = dv.apply_sync(recall)
result

# -- a global counter on the engines
dv["count"] = 0

def bump():
    global count
    count += 1
    return count

first = dv.apply_sync(bump)
second = dv.apply_sync(bump)
first, second

# -- a global statement in a nested function
def outer():
    def inner():
        global made_inside
        made_inside = helper()
    inner()
    return made_inside

def helper():
    return [i for i in range(3)]

dv.apply_sync(outer)

# -- a local name hides a helper
def value():
    return "helper"

def use(value):
    return [value for _ in range(2)], (lambda: value)()

dv.apply_sync(use, "local")

# -- a name deleted there
dv["x"] = 5

def drop():
    global x
    del x
    return "x" in globals()

result = dv.apply_sync(drop)
result

# -- globals() finds what the engine has
dv["known"] = 7

dv.apply_sync(lambda: (globals()["known"], "known" in globals(), eval("known + 1")))

# -- exec and eval inside a function
def run(code):
    scope = {"f": helper}
    exec(code, scope)
    return scope["y"], eval("f(y)", scope)

def helper(x):
    return x * 2

dv.apply_sync(run, "y = f(10)")

# -- a lambda built by eval at the prompt
expression = "x ** 2 + 1"
f = eval(f"lambda x: {expression}")

dv.map_sync(f, range(3))

# -- a function built by exec in a namespace of its own
space = {"k": 3, "helper": lambda x: x + 1}
exec("def f(x):\n    return helper(x) * k", space)
f = space["f"]

dv.map_sync(f, [1, 2])

# -- from math import *
from math import *

dv.apply_sync(lambda: [sqrt(x) + floor(2.5) for x in (4.0, 9.0)])

# -- from numpy import * hides builtins at the prompt
from numpy import *

dv.apply_sync(lambda: (type(sum([x for x in (1, 2)])).__name__, [int(abs(x)) for x in (-1, 2)], float(max([1.0, 3.0])), linspace(0, 1, 3)))

# -- a constant of a module, imported by name, is data
# error: NameError.*pi.*dv\[.pi.\] = pi
from math import pi

dv.apply_sync(lambda r: pi * r, 2.0)

# -- a constant of a module, by the module's name
import math

dv.apply_sync(lambda r: [math.pi * x for x in (r, math.inf)], 2.0)

# -- an import inside a function
def use(text):
    import json
    from collections import Counter
    return json.loads(text), Counter("aab")["a"]

dv.apply_sync(use, '{"a": [1, null]}')

# -- an import inside a helper, as another name
def helper(x):
    import math as m
    return [m.floor(y) for y in (x, x + 0.6)]

dv.apply_sync(lambda: helper(1.5))

# -- a module with a dot in its name
import os.path
import xml.etree.ElementTree

def use(p, text):
    return os.path.splitext(p), [e.tag for e in xml.etree.ElementTree.fromstring(text)]

dv.apply_sync(use, "a/b.txt", "<r><x/><y/></r>")

# -- a submodule that is only reached through its package
import concurrent.futures
import numpy

def use(x):
    return numpy.linalg.norm(x), numpy.fft.fft(x).real, concurrent.futures.Future.__name__

dv.apply_sync(use, numpy.array([3.0, 4.0]))

# -- a submodule that only a helper of a helper names
import wsgiref.util

def guess(environ):
    return wsgiref.util.guess_scheme(environ)

def use(xs):
    return [guess(x) for x in xs]

dv.apply_sync(use, [{}, {"HTTPS": "on"}])

# -- modules under short names
import collections as c
import datetime as dt
import itertools as it
import numpy as np

dv.apply_sync(lambda: [(c.Counter(it.chain("ab", "b"))["b"], dt.timedelta(days=k).days, np.int64(k)) for k in range(2)])

# -- a module as the argument and the result
import math

dv.apply_sync(lambda m: (m.floor(2.5), m is math, m), math)

# -- an alias of a module's function
import math
from os import path as p

root = math.sqrt

dv.apply_sync(lambda: ([root(x) for x in (1, 4)], p.basename("a/b")))

# -- star arguments of helpers and a dict of options
def options(**kw):
    return {**defaults(), **kw}

def defaults():
    return dict(a=1, b=2)

dv.apply_sync(lambda **kw: options(**kw), b=5, c=6)

# -- __name__ as in a script
def who():
    return __name__

dv.apply_sync(who), dv.apply_sync(lambda: [__name__ for _ in range(1)])

# -- a name with an underscore, and one that is not ASCII
def _private(x):
    return x + 1

def größe(x):
    return _private(x) * 2

λ = lambda x: größe(x)

dv.apply_sync(lambda x: [λ(y) for y in (x,)], 3)

# -- a helper that is unused and can't be sent does no harm
import threading

lock = threading.Lock()

def unused():
    with lock:
        return 1

def used():
    return 2

dv.apply_sync(lambda: used())

# -- a lock of the prompt is data
# error: lock
import threading

lock = threading.Lock()

def critical():
    with lock:
        return 1

dv.apply_sync(critical)

# -- a helper behind a branch that is not taken may need what is not there
def rare():
    return not_anywhere

def use(flag):
    return rare() if flag else "usual"

dv.apply_sync(use, False)

# -- a helper is sent once more when its own helper changed
def a():
    return 1

def b():
    return a() + 10

def c():
    return [b() for _ in range(1)]

before = dv.apply_sync(c)

def a():
    return 2

before, dv.apply_sync(c)

# -- a default of a helper that changed
def f(x=1):
    return x

before = dv.apply_sync(lambda: f())
f.__defaults__ = (5,)
before, dv.apply_sync(lambda: f())

# -- a code object that was replaced
def f():
    return "old"

def g():
    return "new"

before = dv.apply_sync(lambda: f())
f.__code__ = g.__code__
before, dv.apply_sync(lambda: f())

# -- a helper that was deleted at the prompt and put back
def f():
    return 1

def use():
    return f()

before = dv.apply_sync(use)
del f

def f():
    return 2

before, dv.apply_sync(use)

# -- conditional definition
try:
    from no_such_module import fast
except ImportError:
    def fast(x):
        return "slow but sure", x

dv.apply_sync(lambda: fast(1))
