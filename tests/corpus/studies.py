# -- a parameter sweep
from itertools import product

def simulate(a, b, steps=50):
    x = 0.5
    for _ in range(steps):
        x = a * x * (1 - x) + noise(b)
    return round(x, 12)

def noise(b):
    return b * 1e-3

points = list(product([2.5, 3.2], [0, 1]))
dict(zip(points, dv.map_sync(lambda p: simulate(*p), points)))

# -- an ensemble of particles with classes and a helper
class Particle:
    def __init__(self, x, v=0.0):
        self.x, self.v = x, v

    def step(self, dt):
        self.v += force(self.x) * dt
        self.x += self.v * dt

def force(x):
    return -x

def trajectory(x0, n=100, dt=0.05):
    p = Particle(x0)
    path = []
    for _ in range(n):
        p.step(dt)
        path.append(p.x)
    return path[-1], max(path)

dv.map_sync(trajectory, [0.5, 1.0, 2.0])

# -- k-means
import random

def distance(p, q):
    return sum((a - b) ** 2 for a, b in zip(p, q))

def centre(points):
    return tuple(round(sum(c) / len(points), 9) for c in zip(*points))

def kmeans(points, k, seed, rounds=10):
    centres = random.Random(seed).sample(points, k)
    for _ in range(rounds):
        groups = {c: [] for c in centres}
        for p in points:
            groups[min(centres, key=lambda c: distance(p, c))].append(p)
        centres = [centre(g) if g else c for c, g in groups.items()]
    return sorted(centres)

data = [(0.0, 0.1), (0.2, 0.0), (5.0, 5.1), (5.2, 4.9)]
dv.map_sync(kmeans, [data] * 2, [2] * 2, range(2))

# -- word counts, mapped and reduced
from collections import Counter
from functools import reduce
import re

def words(text):
    return re.findall(r"[a-z]+", text.lower())

def count(text):
    return Counter(w for w in words(text) if keep(w))

def keep(w):
    return len(w) > 2

texts = ["The cat and the dog", "A dog, a cat; the end"]
reduce(lambda a, b: a + b, dv.map_sync(count, texts))

# -- N queens
def queens(n):
    def place(row, cols):
        if row == n:
            return 1
        return sum(place(row + 1, [*cols, c]) for c in range(n) if safe(row, c, cols))
    return place(0, [])

def safe(row, c, cols):
    return all(c != k and abs(c - k) != row - r for r, k in enumerate(cols))

dv.map_sync(queens, [4, 5, 6])

# -- a genetic algorithm
import random

class Individual:
    def __init__(self, genes):
        self.genes = genes

    @property
    def fitness(self):
        return score(self.genes)

    def mate(self, other, rng):
        cut = rng.randrange(len(self.genes))
        return Individual(mutate(self.genes[:cut] + other.genes[cut:], rng))

def score(genes):
    return sum(genes)

def mutate(genes, rng):
    k = rng.randrange(len(genes))
    return [1 - g if i == k else g for i, g in enumerate(genes)]

def evolve(seed, n=8, generations=10):
    rng = random.Random(seed)
    people = [Individual([rng.randint(0, 1) for _ in range(n)]) for _ in range(6)]
    for _ in range(generations):
        people.sort(key=lambda p: p.fitness, reverse=True)
        people = people[:3] + [people[0].mate(p, rng) for p in people[:3]]
    return max(people, key=lambda p: p.fitness)

best = dv.map_sync(evolve, range(3))
[b.fitness for b in best], isinstance(best[0], Individual)

# -- the Ising model
import numpy as np

def energy(s):
    return -float((s * np.roll(s, 1, 0) + s * np.roll(s, 1, 1)).sum())

def sweep(s, beta, rng):
    n = len(s)
    for _ in range(s.size):
        i, j = rng.integers(0, n, 2)
        field = s[(i + 1) % n, j] + s[i - 1, j] + s[i, (j + 1) % n] + s[i, j - 1]
        if rng.random() < np.exp(-2 * beta * s[i, j] * field):
            s[i, j] *= -1

def run(beta, seed):
    rng = np.random.default_rng(seed)
    s = rng.choice([-1, 1], (6, 6))
    for _ in range(5):
        sweep(s, beta, rng)
    return energy(s), int(s.sum())

dv.map_sync(run, [0.2, 0.6], [1, 2])

# -- dynamic programming with a cache
from functools import lru_cache

def distance(a, b):
    @lru_cache(None)
    def d(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + cost(a[i - 1], b[j - 1]))
    return d(len(a), len(b))

def cost(x, y):
    return int(x != y)

dv.map_sync(distance, ["kitten", "abc"], ["sitting", "acb"])

# -- Runge-Kutta with any right-hand side
def rk4(f, y, t, h):
    k1 = f(t, y)
    k2 = f(t + h / 2, [a + h / 2 * b for a, b in zip(y, k1)])
    k3 = f(t + h / 2, [a + h / 2 * b for a, b in zip(y, k2)])
    k4 = f(t + h, [a + h * b for a, b in zip(y, k3)])
    return [a + h / 6 * (p + 2 * q + 2 * r + s) for a, p, q, r, s in zip(y, k1, k2, k3, k4)]

def lotka(alpha):
    return lambda t, y: [alpha * y[0] - y[0] * y[1], y[0] * y[1] - y[1]]

def solve(alpha, n=50):
    y = [1.0, 0.5]
    for k in range(n):
        y = rk4(lotka(alpha), y, k * 0.1, 0.1)
    return y

dv.map_sync(solve, [0.8, 1.2])

# -- a neural network of classes
import numpy as np

class Layer:
    def __init__(self, n_in, n_out, rng):
        self.w = rng.normal(size=(n_in, n_out)) / np.sqrt(n_in)

    def __call__(self, x):
        return relu(x @ self.w)

class Net:
    def __init__(self, sizes, seed):
        rng = np.random.default_rng(seed)
        self.layers = [Layer(a, b, rng) for a, b in zip(sizes, sizes[1:])]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

def relu(x):
    return np.maximum(x, 0)

net = Net([3, 4, 2], 1)

dv.apply_sync(net, np.ones(3)).round(12), dv.apply_sync(lambda x: [net(x).shape for _ in range(1)], np.ones(3))

# -- bootstrap confidence limits
import numpy as np

def statistic(x):
    return float(np.median(x))

def resample(x, seed):
    return statistic(np.random.default_rng(seed).choice(x, len(x)))

x = np.array([1.0, 4.0, 2.0, 8.0, 5.0])
np.percentile(dv.map_sync(resample, [x] * 10, range(10)), [5, 95])

# -- a heat equation by a stencil class
import numpy as np

class Rod:
    def __init__(self, n, left=1.0):
        self.u = np.zeros(n)
        self.u[0] = left

    def step(self, r=0.25):
        self.u[1:-1] += r * laplacian(self.u)
        return self

def laplacian(u):
    return u[:-2] - 2 * u[1:-1] + u[2:]

def run(n, steps):
    rod = Rod(n)
    for _ in range(steps):
        rod.step()
    return rod

dv.apply_sync(run, 6, 20)

# -- a bank of accounts with errors of their own
class InsufficientFunds(Exception):
    def __init__(self, missing):
        super().__init__(f"{missing} missing")
        self.missing = missing

class Account:
    def __init__(self, balance=0):
        self.balance = balance

    def withdraw(self, amount):
        if amount > self.balance:
            raise InsufficientFunds(amount - self.balance)
        self.balance -= amount
        return self

def try_all(amounts):
    account, failed = Account(100), []
    for a in amounts:
        try:
            account.withdraw(a)
        except InsufficientFunds as e:
            failed.append(e.missing)
    return account, failed

dv.apply_sync(try_all, [50, 80, 50, 1])

# -- a small interpreter
class Machine:
    def __init__(self):
        self.stack = []

    def run(self, program):
        for word in program.split():
            getattr(self, f"do_{OPS.get(word)}")() if word in OPS else self.stack.append(int(word))
        return self.stack

    def do_add(self):
        self.stack.append(self.stack.pop() + self.stack.pop())

    def do_mul(self):
        self.stack.append(self.stack.pop() * self.stack.pop())

OPS = {"+": "add", "*": "mul"}
dv["OPS"] = OPS

dv.map_sync(lambda p: Machine().run(p), ["1 2 +", "2 3 * 4 +"])

# -- trees of expressions that are differentiated
class Expr:
    def __add__(self, o):
        return Add(self, o)

    def __mul__(self, o):
        return Mul(self, o)

class Var(Expr):
    def d(self):
        return Const(1)

    def at(self, x):
        return x

class Const(Expr):
    def __init__(self, c):
        self.c = c

    def d(self):
        return Const(0)

    def at(self, x):
        return self.c

class Add(Expr):
    def __init__(self, a, b):
        self.a, self.b = a, b

    def d(self):
        return self.a.d() + self.b.d()

    def at(self, x):
        return self.a.at(x) + self.b.at(x)

class Mul(Add):
    def d(self):
        return self.a.d() * self.b + self.a * self.b.d()

    def at(self, x):
        return self.a.at(x) * self.b.at(x)

x = Var()
f = x * x * x + Const(2) * x

dv.map_sync(lambda f, v: f.d().at(v), [f, f], [1, 2]), dv.apply_sync(lambda f: f.d(), f).at(3)
