# needs: scipy

# -- minimise a function of the prompt
from scipy import optimize

def objective(x):
    return square(x[0] - 1) + square(x[1] + 2)

def square(x):
    return x * x

dv.apply_sync(lambda: optimize.minimize(objective, [0.0, 0.0]).x.round(4))

# -- a root of a lambda that uses a helper
from scipy.optimize import brentq

def f(x, a):
    return x**3 - a

dv.map_sync(lambda a: round(brentq(lambda x: f(x, a), 0, 10), 9), [8.0, 27.0])

# -- least squares with a model class
import numpy as np
from scipy.optimize import curve_fit

def model(x, a, b):
    return a * np.exp(-b * x)

def fit(seed):
    x = np.linspace(0, 2, 20)
    (a, b), _ = curve_fit(model, x, model(x, 2.0, 1.3), p0=(1.0, 1.0))
    return round(float(a), 5), round(float(b), 5)

dv.apply_sync(fit, 1)

# -- quad of a helper and of a lambda
import math

from scipy.integrate import quad

def gauss(x, s=1.0):
    return math.exp(-x * x / (2 * s * s))

dv.apply_sync(lambda: (round(quad(gauss, -5, 5)[0], 8), round(quad(lambda x: gauss(x, 2.0), -5, 5)[0], 8)))

# -- solve_ivp with a right-hand side of the prompt
from scipy.integrate import solve_ivp

def spring(k):
    def rhs(t, y):
        return [y[1], force(k, y[0])]
    return rhs

def force(k, x):
    return -k * x

dv.map_sync(lambda k: solve_ivp(spring(k), (0, 1), [1.0, 0.0], rtol=1e-8).y[:, -1].round(5), [1.0, 4.0])

# -- an event function of solve_ivp
from scipy.integrate import solve_ivp

def ground(t, y):
    return y[0]

ground.terminal = True

def fall(t, y):
    return [y[1], -9.81]

dv.apply_sync(lambda h: round(float(solve_ivp(fall, (0, 10), [h, 0.0], events=ground, rtol=1e-9).t[-1]), 5), 5.0)

# -- an interpolator of the prompt is a helper
import numpy as np
from scipy.interpolate import CubicSpline, interp1d

spline = CubicSpline(np.arange(5.0), np.arange(5.0) ** 2)

dv.apply_sync(lambda xs: [round(float(spline(x)), 8) for x in xs], [0.5, 1.5])

# -- an interpolator as the argument and as the function
import numpy as np
from scipy.interpolate import CubicSpline

s = CubicSpline([0.0, 1.0, 2.0], [0.0, 1.0, 4.0])

dv.map_sync(s, [0.5, 1.0]), dv.apply_sync(lambda f: round(float(f(1.5)), 8), s)

# -- sparse matrices
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

def laplacian(n):
    return sparse.diags([[-1.0] * (n - 1), [2.0] * n, [-1.0] * (n - 1)], [-1, 0, 1]).tocsc()

dv.apply_sync(lambda n: (laplacian(n), spsolve(laplacian(n), np.ones(n)).round(8)), 4)

# -- a linear operator of functions of the prompt
import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

def apply(v):
    return 2 * v - np.roll(v, 1) * 0.5 - np.roll(v, -1) * 0.5

def solve(n):
    a = LinearOperator((n, n), matvec=lambda v: apply(v), dtype=float)
    x, info = cg(a, np.ones(n))
    return x.round(6), info

dv.apply_sync(solve, 4)

# -- statistics and distributions
from scipy import stats

def p_value(a, b):
    return round(float(stats.ttest_ind(a, b).pvalue), 6)

normal = stats.norm(loc=1, scale=2)

dv.apply_sync(p_value, [1.0, 2.0, 3.0], [2.0, 3.0, 4.5]), dv.apply_sync(lambda n: round(float(n.cdf(1.0)), 6), normal)

# -- special functions are the function
from scipy import special

dv.map_sync(special.gamma, [4.0, 5.0]), dv.apply_sync(lambda: [round(float(special.erf(x)), 6) for x in (0, 1)])

# -- Fourier transforms, signals and distances
import numpy as np
from scipy import fft, signal
from scipy.spatial import distance

def metric(u, v):
    return float(abs(u - v).max())

dv.apply_sync(lambda: (fft.dct([1.0, 2.0]).round(6), signal.find_peaks([0, 1, 0, 3, 0])[0], distance.pdist(np.array([[0.0, 0], [1, 3], [5, 1]]), lambda u, v: metric(u, v))))
