# -- regular expressions with a function as replacement
import re

def shout(match):
    return mark(match.group().upper())

def mark(s):
    return f"<{s}>"

dv.apply_sync(lambda s: re.sub(r"\b\w", shout, s), "ab cd"), dv.apply_sync(lambda s: re.findall(r"(\d)(\w)", s), "1a 2b")

# -- a compiled expression as the argument, and its method as the function
import re

number = re.compile(r"-?\d+")

dv.apply_sync(lambda r, s: [int(x) for x in r.findall(s)], number, "a1 b-22"), dv.map_sync(number.findall, ["1 2", "x"])

# -- json with default and hooks of the prompt
import json

class Point:
    def __init__(self, x):
        self.x = x

def encode(o):
    return {"point": o.x}

def decode(d):
    return Point(d["point"]) if "point" in d else d

def use(p):
    text = json.dumps([p, {"a": 1}], default=encode)
    return text, json.loads(text, object_hook=decode)

dv.apply_sync(use, Point(3))

# -- a JSON encoder class
import json

class Encoder(json.JSONEncoder):
    def default(self, o):
        return sorted(o) if isinstance(o, set) else super().default(o)

dv.apply_sync(lambda: json.dumps({"s": {2, 1}}, cls=Encoder))

# -- dates and a time zone of the prompt
from datetime import date, datetime, timedelta, timezone, tzinfo

class Fixed(tzinfo):
    def utcoffset(self, dt):
        return timedelta(hours=2)

    def dst(self, dt):
        return timedelta(0)

    def tzname(self, dt):
        return "F"

def monday(d):
    return d - timedelta(days=d.weekday())

dv.apply_sync(lambda: (monday(date(2024, 5, 16)), datetime(2024, 1, 1, 12, tzinfo=Fixed()).astimezone(timezone.utc), [monday(date(2024, 1, k)).day for k in (1, 9)]))

# -- Decimal and Fraction
from decimal import Decimal, getcontext
from fractions import Fraction

def harmonic(n):
    return sum((Fraction(1, k) for k in range(1, n + 1)), Fraction(0))

dv.apply_sync(harmonic, 6), dv.apply_sync(lambda xs: sum(map(Decimal, xs)), ["0.1", "0.2"]), dv.map_sync(Fraction, [1, 2], [3, 4])

# -- statistics
import statistics as st

def summary(xs):
    return st.mean(xs), st.median(xs), round(st.stdev(xs), 6), st.mode(xs)

dv.apply_sync(summary, [1, 2, 2, 5])

# -- pathlib paths
from pathlib import Path, PurePosixPath

def parts(p):
    return p.name, p.suffix, str(p.parent), p.with_suffix(".dat")

dv.apply_sync(parts, PurePosixPath("/a/b.txt")), dv.map_sync(lambda s: (Path("x") / s).parts, ["a", "b/c"])

# -- string templates, formatting and textwrap
import string
import textwrap

def fill(name):
    return string.Template("Dear $name").substitute(name=title(name))

def title(s):
    return s.title()

dv.apply_sync(lambda: (fill("ann"), textwrap.fill("a b c d", 3), "{:>5}|{!r}".format("x", "y"), string.ascii_lowercase[:3]))

# -- a formatter class
import string

class Plural(string.Formatter):
    def format_field(self, value, spec):
        return f"{value} {spec}{'s' if value != 1 else ''}"

dv.apply_sync(lambda: Plural().format("{:apple} and {:pear}", 1, 2))

# -- csv and io
import csv
import io

def rows(text):
    return [{k: number(v) for k, v in row.items()} for row in csv.DictReader(io.StringIO(text))]

def number(s):
    return float(s) if "." in s else int(s)

dv.apply_sync(rows, "a,b\n1,2.5\n3,4\n")

# -- struct, binascii, zlib, base64, hashlib
import base64
import hashlib
import struct
import zlib

def digest(b):
    return hashlib.sha256(b).hexdigest()[:8]

dv.apply_sync(lambda b: (struct.unpack("<hi", struct.pack("<hi", 1, 2)), zlib.decompress(zlib.compress(b)), base64.b64encode(b), digest(b)), b"abc")

# -- big integers, complex numbers, infinities and bytes
import cmath

def f(x):
    return x * x

dv.map_sync(f, [10**40, 1 + 2j, float("inf"), -0.0, True]), dv.apply_sync(cmath.sqrt, -1), dv.apply_sync(lambda b: b[::-1] + bytes([f(3)]), b"ab")

# -- sets, frozensets, ranges, slices and None
def f(x):
    return x

dv.map_sync(f, [{1, 2}, frozenset("ab"), range(3, 9, 2), slice(1, None), None, ..., NotImplemented, bytearray(b"x")]), dv.apply_sync(lambda a, b: a & b | {0}, {1, 2}, frozenset([2]))

# -- sqlite with a function of the prompt
import sqlite3

def triple(x):
    return 3 * x

def query(xs):
    db = sqlite3.connect(":memory:")
    db.create_function("triple", 1, triple)
    db.execute("create table t (x int)")
    db.executemany("insert into t values (?)", [(x,) for x in xs])
    return db.execute("select triple(x) from t order by x").fetchall()

dv.apply_sync(query, [2, 1])

# -- logging with a handler class of the prompt
import logging

class Keep(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(line(record))

def line(record):
    return f"{record.levelname}: {record.getMessage()}"

def use():
    log, keep = logging.getLogger("corpus"), Keep()
    log.propagate = False
    log.addHandler(keep)
    log.warning("x is %d", 3)
    log.removeHandler(keep)
    return keep.lines

dv.apply_sync(use)

# -- an argument parser with a type of the prompt
import argparse

def positive(s):
    if int(s) <= 0:
        raise argparse.ArgumentTypeError("not positive")
    return int(s)

def parse(words):
    p = argparse.ArgumentParser()
    p.add_argument("-n", type=positive, default=1)
    p.add_argument("names", nargs="*")
    return vars(p.parse_args(words))

dv.apply_sync(parse, ["-n", "3", "a", "b"])

# -- a visitor of syntax trees
import ast

class Names(ast.NodeVisitor):
    def __init__(self):
        self.found = []

    def visit_Name(self, node):
        self.found.append(label(node.id))
        self.generic_visit(node)

def label(s):
    return s + "!"

def names(code):
    v = Names()
    v.visit(ast.parse(code))
    return v.found

dv.apply_sync(names, "a + b * a")

# -- an HTML parser class
from html.parser import HTMLParser

class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links = []

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.links.append(dict(attrs)["href"])

def links(html):
    p = Links()
    p.feed(html)
    return p.links

dv.apply_sync(links, '<p><a href="x">1</a><a href="y">2</a></p>')

# -- inspect and dis look at a function of the prompt
import inspect

def f(a, b=2):
    """Doc."""
    return a + b

dv.apply_sync(lambda: (inspect.getdoc(f), list(inspect.signature(f).parameters), inspect.isfunction(f), inspect.ismodule(inspect)))

# -- the source of a function of the prompt is known there
import inspect

def source_of_me():
    return 1  # a remark

"a remark" in dv.apply_sync(lambda: inspect.getsource(source_of_me))

# -- a subprocess
import subprocess
import sys

def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()

dv.apply_sync(lambda: python("print(1 + 1)"))

# -- graphs by a priority queue
import heapq
from collections import defaultdict

class Graph:
    def __init__(self, edges):
        self.out = defaultdict(list)
        for a, b, w in edges:
            self.out[a].append((b, w))

    def shortest(self, start):
        best, heap = {}, [(0, start)]
        while heap:
            d, node = heapq.heappop(heap)
            if node not in best:
                best[node] = d
                for to, w in self.out[node]:
                    heapq.heappush(heap, (d + w, to))
        return best

dv.apply_sync(lambda g: g.shortest("a"), Graph([("a", "b", 4), ("a", "c", 1), ("c", "b", 2)]))

# -- copyreg for a class of the prompt
import copyreg
import copy

class Handle:
    def __init__(self, n):
        self.n = n

def rebuild(n):
    return Handle(n)

def reduce(h):
    return rebuild, (h.n,)

def use(n):
    copyreg.pickle(Handle, reduce)
    return copy.copy(Handle(n))

dv.apply_sync(use, 4)

# -- weak references and a WeakValueDictionary
import weakref

class Node:
    def __init__(self, n):
        self.n = n

def use():
    cache = weakref.WeakValueDictionary()
    keep = [Node(k) for k in range(3)]
    for node in keep:
        cache[node.n] = node
    return sorted(cache), cache[2] is keep[2]

dv.apply_sync(use)

# -- an unpickler with persistent ids
import io
import pickle

class Plain(pickle.Unpickler):
    def persistent_load(self, pid):
        return known(pid)

class Saver(pickle.Pickler):
    def persistent_id(self, obj):
        return obj if isinstance(obj, str) else None

def known(pid):
    return f"known {pid}"

def use(x):
    file = io.BytesIO()
    Saver(file).dump(x)
    return Plain(io.BytesIO(file.getvalue())).load()

dv.apply_sync(use, [1, "a"])

# -- pickle.dumps of a helper there, loaded there
import pickle

def helper(x):
    return x + 1

def use():
    return pickle.loads(pickle.dumps(helper))(1), pickle.loads(pickle.dumps({"f": helper}))["f"](2)

dv.apply_sync(use)

# -- a pool of processes is forked by the engine
import concurrent.futures
import multiprocessing

def square(x):
    return x * x

def use(n):
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return list(pool.map(square, range(n)))

dv.apply_sync(use, 3)
