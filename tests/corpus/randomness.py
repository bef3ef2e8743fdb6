# -- numpy's own generator is that of each engine, and goes on
import numpy as np

len(set(dv.map_sync(lambda _: np.random.rand(), range(8)))) == 8

# -- numpy's function itself is the function
import numpy as np

xs = dv.map_sync(np.random.normal, [0.0] * 8)
len(set(xs)) == 8

# -- the same in two calls is not the same number
import numpy as np

a = dv.map_sync(np.random.uniform, [0.0] * 4, [1.0] * 4)
b = dv.map_sync(np.random.uniform, [0.0] * 4, [1.0] * 4)
len({*a, *b}) == 8

# -- random's function itself is the function
import random

a = dv.map_sync(random.gauss, [0] * 4, [1] * 4)
b = dv.map_sync(random.gauss, [0] * 4, [1] * 4)
len({*a, *b}) == 8

# -- random by its module
import random

len(set(dv.map_sync(lambda _: random.random(), range(6)))) == 6

# -- random by its function's name
from random import random, randint

xs = dv.map_sync(lambda _: (random(), randint(0, 10**12)), range(6))
len(set(xs)) == 6

# -- a seed at the prompt is not the engines' seed
import random

random.seed(1)
draws = dv.map_sync(random.randrange, [10**9] * 4)
len(set(draws))

# -- a seed that is set there
import random

def draw(seed):
    random.seed(seed)
    drawn = random.random(), random.sample(range(10), 3), random.choice("abc")
    random.seed()  # as it was: by chance
    return drawn

dv.map_sync(draw, [1, 2, 1])

# -- numpy's seed that is set there
import numpy as np

def draw(seed):
    np.random.seed(seed)
    drawn = np.random.rand(3), np.random.randint(0, 10, 2)
    np.random.seed()  # as it was: by chance
    return drawn

dv.apply_sync(draw, 5)

# -- a generator of numpy is made there
import numpy as np

def draw(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=3), rng.permutation(5), rng.choice([1, 2, 3], 2)

dv.apply_sync(draw, 42)

# -- a generator of numpy is the argument
# once
import numpy as np

rng = np.random.default_rng(7)

dv.apply_sync(lambda r: r.random(3), rng)

# -- a generator of random is made there, by a helper
import random

def stream(seed):
    return random.Random(seed)

def walk(seed, n):
    r, x = stream(seed), 0
    return [x := x + r.choice((-1, 1)) for _ in range(n)]

dv.apply_sync(walk, 3, 10)

# -- a method of a generator of the prompt is the function
# once
import numpy as np

dv.apply_sync(np.random.default_rng(3).normal, 0.0, 1.0, 2)

# -- seeds that are spawned for each task
import numpy as np

def sample(seed):
    return float(np.random.default_rng(seed).random())

dv.map_sync(sample, np.random.SeedSequence(11).spawn(4))

# -- pi by Monte Carlo
import random

def inside(r):
    return r.random() ** 2 + r.random() ** 2 <= 1

def hits(seed, n):
    r = random.Random(seed)
    return sum(inside(r) for _ in range(n))

round(4 * sum(dv.map_sync(hits, range(4), [500] * 4)) / 2000, 4)

# -- uuid, secrets and the like differ
import secrets
import uuid

len({*dv.map_sync(lambda _: uuid.uuid4().hex, range(4)), *dv.map_sync(secrets.token_hex, [8] * 4)}) == 8
