# needs: sympy

# -- lambdify is the function
import sympy as sp

x = sp.symbols("x")
f = sp.lambdify(x, x**2 + sp.sin(x), "math")

dv.map_sync(f, [0.0, 1.0])

# -- lambdify as a helper, with numpy
import numpy as np
import sympy as sp

x, y = sp.symbols("x y")
g = sp.lambdify((x, y), sp.exp(-x) * y, "numpy")

dv.apply_sync(lambda n: [g(k, np.arange(n)) for k in range(2)], 3)

# -- expressions go and come
import sympy as sp

x = sp.Symbol("x")

str(dv.apply_sync(sp.diff, sp.sin(x) * x, x)), str(dv.apply_sync(lambda e: sp.expand(e), (x + 1) ** 3))

# -- symbols made there
from sympy import Matrix, Rational, solve, symbols

def roots(a, b, c):
    z = symbols("z")
    return [str(r) for r in solve(a * z**2 + b * z + c, z)]

def det(n):
    return Matrix(n, n, lambda i, j: entry(i, j)).det()

def entry(i, j):
    return Rational(1, int(i) + int(j) + 1)

dv.apply_sync(roots, 1, -3, 2), str(dv.apply_sync(det, 3))
