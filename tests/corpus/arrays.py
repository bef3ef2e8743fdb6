# -- ufuncs are the function
import numpy as np

dv.apply_sync(np.add, np.arange(3), 1), dv.map_sync(np.sqrt, [4.0, 9.0]), dv.apply_sync(np.maximum.reduce, [3, 9, 2])

# -- np.vectorize as a helper
import numpy as np

def step(x):
    return 1.0 if x > 0 else 0.0

heaviside = np.vectorize(step)

dv.apply_sync(lambda: heaviside(np.array([-1.0, 0.5, 2.0])))

# -- np.vectorize as a decorator, as the function
import numpy as np

@np.vectorize
def gcd(a, b):
    while b:
        a, b = b, a % b
    return a

dv.apply_sync(gcd, np.array([12, 18]), 6)

# -- np.frompyfunc, made there
import numpy as np

def fold(a, b):
    return 10 * a + b

dv.apply_sync(lambda n: int(np.frompyfunc(fold, 2, 1).reduce(np.arange(1, n).astype(object))), 5)

# -- apply_along_axis and apply_over_axes with a helper
import numpy as np

def spread(row):
    return row.max() - row.min()

dv.apply_sync(lambda a: np.apply_along_axis(spread, 1, a), np.array([[1, 5, 2], [0, 0, 7]]))

# -- np.fromfunction and piecewise with lambdas
import numpy as np

def f(i, j):
    return i * 10 + j

dv.apply_sync(lambda: (np.fromfunction(f, (2, 3)), np.piecewise(np.array([-1.0, 2.0]), [np.array([True, False])], [lambda x: -x, lambda x: f(x, 1)])))

# -- einsum, tensordot and broadcasting
import numpy as np

def gram(x):
    return np.einsum("ij,kj->ik", x, x)

dv.apply_sync(lambda n: (gram(np.arange(n * 2.0).reshape(n, 2)), np.tensordot(np.eye(2), np.ones((2, 2)), 1), np.arange(3)[:, None] * np.arange(2)), 2)

# -- linear algebra
import numpy as np
from numpy.linalg import eigvalsh, solve

def hilbert(n):
    i = np.arange(n)
    return 1.0 / (i[:, None] + i + 1)

dv.apply_sync(lambda n: (solve(hilbert(n), np.ones(n)).round(6), eigvalsh(hilbert(n)).round(10), np.linalg.matrix_rank(hilbert(n))), 3)

# -- structured arrays
import numpy as np

def heaviest(a):
    return a[np.argmax(a["mass"])]["name"]

data = np.array([("a", 1.5, 3), ("b", 2.5, 4)], dtype=[("name", "U4"), ("mass", "f8"), ("n", "i4")])

dv.apply_sync(lambda a: (str(heaviest(a)), a["mass"].mean(), np.sort(a, order="n")[::-1]), data)

# -- record arrays and masked arrays
import numpy as np

def use(xs):
    r = np.rec.fromarrays([xs, xs**2], names="x,y")
    return r.y, np.ma.masked_greater(xs, 2).sum(), np.ma.masked_equal(xs, 1)

dv.apply_sync(use, np.array([1.0, 2.0, 3.0]))

# -- data types: bool, complex, int8, datetime, bytes, objects
import numpy as np

def kinds(a):
    return a.dtype.str, a.nbytes, a

dv.map_sync(kinds, [
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array([1, -1], dtype=np.int8),
    np.array(["2024-01-01"], dtype="M8[D]"),
    np.array([b"ab"]),
    np.array([1, "a", None], dtype=object),
    np.float32(1.5).reshape(1),
])

# -- an array of objects of the prompt
import numpy as np

class Cell:
    def __init__(self, i):
        self.i = i

    def __add__(self, other):
        return Cell(self.i + other.i)

dv.apply_sync(lambda a: (a.sum(), a[::2]), np.array([Cell(1), Cell(2), Cell(3)]))

# -- scalars of numpy and 0-d arrays
import numpy as np

def f(x):
    return x * np.float64(2)

dv.map_sync(f, [np.float64(1.5), np.int32(3), np.array(2.0)])

# -- views, strides, Fortran order and empty arrays
import numpy as np

def look(a):
    return a.shape, a.flags.f_contiguous, a.sum()

a = np.arange(12.0).reshape(3, 4)
dv.map_sync(look, [a.T, a[:, ::2], np.asfortranarray(a), a[:0], a[::-1]])

# -- an array that is changed there is not changed here, and comes back
import numpy as np

def blur(a):
    a = a.copy()
    a[1:-1] = (a[:-2] + a[1:-1] + a[2:]) / 3
    return a

start = np.array([0.0, 0.0, 9.0, 0.0, 0.0])
dv.apply_sync(blur, blur(start)), start

# -- a function that writes into its argument
# once
import numpy as np

def fill(a):
    a[:] = np.arange(len(a))
    return a

dv.apply_sync(fill, np.zeros(4))

# -- a large array goes and comes
import numpy as np

def double(a):
    return 2 * a

back = dv.apply_sync(double, np.arange(100_000.0))
back.shape, back[-1], float(back.sum())

# -- fft and convolution
import numpy as np

def lowpass(x, keep):
    f = np.fft.rfft(x)
    f[keep:] = 0
    return np.fft.irfft(f, len(x))

dv.apply_sync(lambda n: lowpass(np.arange(n, dtype=float), 2).round(10), 8), dv.apply_sync(np.convolve, [1, 2], [1, 1])

# -- a polynomial as the function and as a helper
import numpy as np

p = np.poly1d([1, 0, -2])
q = np.polynomial.Polynomial([1, 2])

dv.map_sync(p, [0.0, 2.0]), dv.apply_sync(lambda xs: [float(q(x)) for x in xs], [1.0, 3.0])

# -- np.random.Generator inside a class
import numpy as np

class Sampler:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def draw(self, n):
        return self.rng.integers(0, 100, n)

dv.apply_sync(lambda: Sampler(1).draw(4))

# -- memory views, nditer, ndenumerate and where
import numpy as np

def use(a):
    return [(i, float(x)) for i, x in np.ndenumerate(a) if big(x)], np.where(a > 1, a, 0), bytes(memoryview(a.astype("u1")))

def big(x):
    return x > 1

dv.apply_sync(use, np.array([1.0, 2.0, 3.0]))

# -- unique, bincount, searchsorted, histogram
import numpy as np

def summary(x):
    values, counts = np.unique(x, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist())), np.bincount(x), np.searchsorted([1, 3], x), np.histogram(x, bins=2)[0]

dv.apply_sync(summary, np.array([1, 3, 3, 2]))

# -- a game of life
import numpy as np

def neighbours(g):
    return sum(np.roll(g, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))

def step(g):
    n = neighbours(g)
    return ((n == 3) | ((n == 2) & (g == 1))).astype(int)

def play(g, times):
    for _ in range(times):
        g = step(g)
    return g

dv.apply_sync(play, np.array([[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]), 3)

# -- a Mandelbrot set by rows
import numpy as np

def escape(c, limit=20):
    z = 0
    for k in range(limit):
        z = z * z + c
        if abs(z) > 2:
            return k
    return limit

def row(y):
    return [escape(complex(x, y)) for x in np.linspace(-2, 0.5, 6)]

dv.map_sync(row, [-1.0, 0.0, 0.5])
