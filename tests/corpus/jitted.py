# needs: numba

# -- njit is the function
import numba

@numba.njit
def square(x):
    return x * x

dv.map_sync(square, [2, 3])

# -- njit as a helper
from numba import njit

@njit
def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps

dv.apply_sync(lambda ns: [collatz(n) for n in ns], [1, 7, 27])

# -- njit that calls njit
from numba import njit

@njit
def f(x):
    return x + 1.0

@njit
def g(x):
    return 2.0 * f(x)

dv.apply_sync(g, 3.0)

# -- njit over an array, from a plain helper
import numba as nb
import numpy as np

@nb.njit
def total(a):
    s = 0.0
    for x in a:
        s += x
    return s

def mean(a):
    return total(a) / len(a)

dv.apply_sync(lambda n: mean(np.arange(n)), 5)

# -- njit with a module of the prompt
import math

from numba import njit

@njit
def length(x, y):
    return math.sqrt(x * x + y * y)

dv.map_sync(lambda x, y: length(x, y), [3.0], [4.0])

# -- njit with a constant of the prompt, which numba freezes
from numba import njit

G = 9.81

@njit
def fall(t):
    return 0.5 * G * t * t

dv.apply_sync(fall, 2.0)

# -- an eager signature
from numba import float64, njit

@njit(float64(float64, float64))
def add(a, b):
    return a + b

dv.apply_sync(lambda: add(1.0, 2.5))

# -- a jitted closure
from numba import njit

def make(k):
    @njit
    def times(x):
        return k * x
    return times

dv.apply_sync(make(3), 5)

# -- numba.vectorize
import numba
import numpy as np

@numba.vectorize(["float64(float64, float64)"])
def blend(a, b):
    return 0.25 * a + 0.75 * b

dv.apply_sync(lambda: blend(np.zeros(3), np.ones(3)))

# -- a jitted function that was redefined between calls
from numba import njit

@njit
def f(x):
    return x + 1

before = dv.apply_sync(lambda: f(1))

@njit
def f(x):
    return x + 100

before, dv.apply_sync(lambda: f(1))

# -- a method that calls a jitted helper
from numba import njit

@njit
def energy(v):
    return 0.5 * v * v

class Particle:
    def __init__(self, v):
        self.v = v

    def energy(self):
        return energy(self.v)

dv.apply_sync(lambda p: p.energy(), Particle(4.0))
