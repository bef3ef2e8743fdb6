"""Arrays of other libraries than numpy keep their kind on all ways.

The test machines have no GPU: `fakes/gpu_arrays.py` replaces CuPy. PyTorch and JAX are tested on the host, if
they are installed.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import operator
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Import the stand-in as a package of its own, as CuPy is.
sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))
import gpu_arrays

from mpidirect import CompositeError
from mpidirect.arrays.partition import bounds

pytestmark = pytest.mark.mpich_proof


class Library:
    """A library under test: conversions between its arrays and numpy's, here and on engines."""

    def __init__(self, name, make, host, type_name):
        self.name, self.make, self.host, self.type_name = name, make, host, type_name
        self.code = f"import sys, numpy as np; sys.path.insert(0, {sys.path[0]!r}); {name}"

    def array(self, values):
        return eval(self.make, self._scope(), {"values": values})

    def to_numpy(self, array):
        return eval(self.host, self._scope(), {"array": array})

    def _scope(self):
        scope: dict = {}
        exec(self.code, scope)
        return scope


LIBRARIES = {
    "stand-in for CuPy": Library(
        "import gpu_arrays as lib", "lib.asarray(values)", "lib.asnumpy(array)", "ndarray"
    ),
    "torch": Library("import torch as lib", "lib.from_numpy(values.copy())", "array.numpy()", "Tensor"),
    "jax": Library("import jax.numpy as lib", "lib.asarray(values)", "np.asarray(array)", "ArrayImpl"),
}


INSTALLED = [name for name in LIBRARIES if " " in name or importlib.util.find_spec(name)]


@pytest.fixture(params=INSTALLED)
def library(request):
    """Each installed library, one after the other; torch and JAX are too large for each test run."""
    return LIBRARIES[request.param]


@pytest.fixture
def view(dview, library):
    dview.block = True
    dview.execute(library.code)
    return dview


def spread(view, library, name, values):
    """An array of the library for each engine, made on the engine."""
    for engine, value in zip(view.targets, values, strict=True):
        one = view.client.direct_view(engine, block=True)
        one["values"] = value
        one.execute(f"{name} = {library.make}")


def found(view, library, name):
    """The engines' values as numpy arrays; all must be arrays of the library."""
    view.execute(f"array = {name}; kind = type(array).__name__; host = {library.host}")
    assert view["kind"] == [library.type_name] * len(view)
    return view["host"]


def all_equal(found, wanted):
    assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


WHOLE = np.arange(24, dtype="f4").reshape(12, 2)
LARGE = np.arange(1_200_000, dtype="f4").reshape(-1, 2)  # more than one piece on the way through the host


@pytest.mark.parametrize("whole", [WHOLE, LARGE, WHOLE[:2]], ids=["small", "large", "few"])
def test_collectives_that_move_data(view, library, whole):
    parts = [whole[a:b] for a, b in bounds(len(whole), 4)]
    spread(view, library, "part", parts)
    view.allgather("part", out="all")
    all_equal(found(view, library, "all"), [whole] * 4)
    view.gather_to("part", root=2, out="one")
    all_equal(found(view.client.direct_view([2], block=True), library, "one"), [whole])
    view.scatter_from("all", root=1, out="again")
    all_equal(found(view, library, "again"), parts)
    view.execute("rows = part[:rank]")
    view.redistribute("all", out="mine")
    quarters = np.split(np.concatenate([whole] * 4), 4)
    all_equal(found(view, library, "mine"), quarters)
    view.alltoall("all", out="turned")
    all_equal(found(view, library, "turned"), [np.concatenate([p] * 4) for p in parts])
    view.bcast("part", root=3, out="last")
    all_equal(found(view, library, "last"), [parts[3]] * 4)


@pytest.mark.parametrize("op", ["sum", "max", "prod"])
@pytest.mark.parametrize("dtype", ["f4", "i4", "f2"])
def test_reductions_keep_the_kind(view, library, op, dtype):
    combine = {"sum": np.add, "max": np.maximum, "prod": np.multiply}[op]
    values = [(np.arange(6).reshape(2, 3) + k).astype(dtype) for k in range(4)]
    spread(view, library, "x", values)
    upto = [functools.reduce(combine, values[: k + 1]) for k in range(4)]
    view.allreduce("x", op, out="all")
    all_equal(found(view, library, "all"), [upto[-1]] * 4)
    view.scan("x", op, out="upto")
    all_equal(found(view, library, "upto"), upto)
    view.exscan("x", op, out="before")
    later = view.client.direct_view([1, 2, 3], block=True)
    all_equal(found(later, library, "before"), upto[:-1])
    assert view.client[0].pull("before", block=True) is None
    view.reduce("x", op, root=1, out="one")
    all_equal(found(view.client.direct_view([1], block=True), library, "one"), [upto[-1]])
    all_equal(found(view, library, "x"), values)


def test_large_reductions_in_place_and_callables(view, library):
    values = [LARGE + k for k in range(4)]
    spread(view, library, "x", values)
    view.allreduce("x", operator.sub, out="y")
    all_equal(found(view, library, "y"), [values[0] - values[1] - values[2] - values[3]] * 4)
    view.execute("before = x")
    view.allreduce("x")
    all_equal(found(view, library, "x"), [sum(values)] * 4)
    view.execute("same = x is before")
    assert view["same"] == [library.type_name != "ArrayImpl"] * 4  # JAX's arrays can't be written to
    spread(view, library, "x", [np.array([k % 3, -k]) for k in range(4)])
    view.allreduce("x", "maxloc", out="best")
    view.execute("x, y = best")
    assert [a.tolist() for a in found(view, library, "x")] == [[2, 0]] * 4
    assert [a.tolist() for a in found(view, library, "y")] == [[2, 0]] * 4


@pytest.mark.parametrize("whole", [WHOLE, LARGE], ids=["small", "large"])
def test_client_to_engines_and_back(view, library, whole):
    mine = library.array(whole)
    view.push({"x": mine, "nested": {"inner": [mine]}})
    all_equal(found(view, library, "x"), [whole] * 4)
    all_equal(found(view, library, "nested['inner'][0]"), [whole] * 4)
    for pulled in view["x"]:
        assert type(pulled) is type(mine)
        all_equal([library.to_numpy(pulled)], [whole])
    view.scatter("part", mine)
    all_equal(found(view, library, "part"), [whole[a:b] for a, b in bounds(len(whole), 4)])
    gathered = view.gather("part")
    assert type(gathered) is type(mine)
    all_equal([library.to_numpy(gathered)], [whole])
    view.scatter("part", mine, dist="r")
    all_equal([library.to_numpy(view.gather("part", dist="r"))], [whole])
    view.push({"x": mine}, shared=True)
    all_equal(found(view, library, "x"), [whole] * 4)


def test_scalars_and_empty_arrays(view, library):
    spread(view, library, "x", [np.array(np.float32(k)) for k in range(4)])
    view.gather_to("x", root=0, out="y")
    all_equal(found(view.client.direct_view([0], block=True), library, "y"), [np.arange(4, dtype="f4")])
    view.allreduce("x", out="s")
    all_equal(found(view, library, "s"), [np.array(np.float32(6))] * 4)
    view.bcast("x", root=2)
    all_equal(found(view, library, "x"), [np.array(np.float32(2))] * 4)
    all_equal([library.to_numpy(view.gather("x"))], [np.full(4, 2, "f4")])
    spread(view, library, "x", [np.zeros((0, 3), "f4")] * 4)
    for method in ("bcast", "allgather", "allreduce", "redistribute", "alltoall"):
        getattr(view, method)("x", out="y")
        all_equal(found(view, library, "y"), [np.zeros((0, 3), "f4")] * 4)


def test_the_engine_with_another_kind_is_named(view, library):
    spread(view, library, "x", [np.zeros(3, "f4")] * 4)
    view.client[1].push({"x": np.zeros(3, "f4")}, block=True)
    for method in ("allreduce", "allgather"):
        with pytest.raises(
            CompositeError, match=r"engine 1 has x as float32\[3\], the others as \S+ float32\[3\]"
        ):
            getattr(view, method)("x")


# -- transfers of device data ---------------------------------------------------------------------------


@pytest.fixture
def devices(dview):
    """Engines with arrays on a device."""
    dview.block = True
    library = LIBRARIES["stand-in for CuPy"]
    dview.execute(library.code)
    spread(dview, library, "x", [LARGE + k for k in range(4)])
    return dview


def copied(view):
    view.execute("copied = dict(lib.COPIED); lib.COPIED.update(dict.fromkeys(lib.COPIED, 0))")
    return view["copied"]


@pytest.mark.parametrize(
    "method", ["bcast", "allgather", "alltoall", "redistribute", "allreduce", "scan", "gather_to"]
)
def test_device_data_moves_through_the_host_in_pieces(devices, method):
    copied(devices)
    getattr(devices, method)("x", out="y")
    assert all(0 < one["largest"] <= 4 << 20 or not one["to host"] for one in copied(devices))


def test_device_data_moves_directly_if_mpi_supports_it(devices):
    """The fake's device memory is memory of the process, so each MPI can use it."""
    library = LIBRARIES["stand-in for CuPy"]
    say = "import mpidirect.engine.collectives.staging as staging; "
    devices.execute(
        say
        + "asked = staging.reads_devices\n"
        + "staging.reads_devices = lambda platform, collective: platform == 'cuda'"
    )
    try:
        copied(devices)
        for method in ("allreduce", "scan", "bcast", "alltoall", "redistribute", "allgather", "gather_to"):
            getattr(devices, method)("x", out=method)
        assert [one["to host"] for one in copied(devices)] == [0] * 4
    finally:
        devices.execute("staging.reads_devices = asked")
    all_equal(found(devices, library, "allreduce"), [sum(LARGE + k for k in range(4))] * 4)
    all_equal(found(devices, library, "bcast"), [LARGE] * 4)
    all_equal(found(devices, library, "allgather"), [np.concatenate([LARGE + k for k in range(4)])] * 4)
    assert devices.apply(lambda: staging.reads_devices("cuda", True)) == [False] * 4  # noqa: F821


def test_an_interrupt_during_a_device_transfer(devices):
    for _ in range(5):
        result = devices.allreduce("x", out="y", block=False)
        result.interrupt()
        assert result.wait(30)
        devices.allreduce("rank", out="z")
        assert devices["z"] == [6] * 4


def test_a_client_without_the_library_gets_numpy(devices, monkeypatch):
    from mpidirect.arrays import kinds

    monkeypatch.setattr(gpu_arrays.cuda, "is_available", lambda: False)
    kinds.named.cache_clear()
    pulled = devices.pull("x", targets=2)
    assert type(pulled) is np.ndarray and np.array_equal(pulled, LARGE + 2)
    kinds.named.cache_clear()


def test_engines_import_no_library_without_its_arrays():
    program = "import sys, mpidirect.client, mpidirect.arrays.partition; import numpy as np; "
    program += (
        "from mpidirect.serialize import pickles; pickles.loads(pickles.dumps([np.arange(5), lambda: 3])); "
    )
    program += "print([n for n in ('torch', 'jax', 'cupy', 'mpi4py') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def torch_s_own_properties(dview):
    torch = importlib.import_module("torch")
    weights = torch.nn.Parameter(torch.arange(3.0))
    values = [
        torch.ones(3, dtype=torch.bfloat16),
        torch.zeros(2, requires_grad=True),
        torch.ones(2, 2).t(),
        weights,
    ]
    dview.push({"v": values}, block=True)
    for pulled in dview.pull("v", block=True):
        assert [type(value) for value in pulled] == [type(value) for value in values]
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(pulled, values, strict=True))
        assert [value.requires_grad for value in pulled] == [False, True, False, True]
    dview.execute("x = v[0] * (rank + 1)", block=True)
    dview.allreduce("x", block=True)
    assert all(
        importlib.import_module("torch").equal(x, torch.full((3,), 10, dtype=torch.bfloat16))
        for x in dview.pull("x", block=True)
    )


if "torch" in INSTALLED:
    test_torch_s_own_properties = torch_s_own_properties
