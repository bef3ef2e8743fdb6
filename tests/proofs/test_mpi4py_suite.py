"""mpi4py's own tests pass on the engines' ``comm``.

The tests are those of the installed version, and are downloaded from PyPI at first use. Each class of tests
is one call on all engines; engines that wait for a failed engine are interrupted.
"""

from __future__ import annotations

import shutil
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import PROGRAMS

from tests.source_archive import fetch

PROGRAM = str(PROGRAMS / "mpi4py_suite.py")
WITHIN = 60.0  # seconds for a class of tests, most of which take some milliseconds

pytestmark = [
    pytest.mark.proof,
    pytest.mark.openmpi_only,  # MPICH's failures differ from version to version
    pytest.mark.timeout(600),
    pytest.mark.skipif(version("mpi4py") < "4", reason="the tests of mpi4py 3 have another form"),
]

LEFT_OUT = {
    **dict.fromkeys(["test_address", "test_datatype", "test_info", "test_pack"], "no communicator in it"),
    **dict.fromkeys(["test_msgspec", "test_util_dtlib"], "no communicator in it, and minutes long"),
    **dict.fromkeys(["test_dynproc", "test_spawn"], "starts and joins other jobs, not an intracommunicator"),
    **dict.fromkeys(["test_doc", "test_mpiabi", "test_mpiapi"], "about mpi4py's sources and libmpi alone"),
    "test_ulfm": "fails under a bare mpiexec as well; on engines Open MPI crashes in a MPI_Comm_dup of it",
}
INAPPLICABLE = {
    "test_comm.TestCommWorld.testPickle": "pickles an object of mpi4py's own class, made of comm by hand",
    "test_objmodel.TestObjModel.testHandle": "a handle becomes an object of mpi4py's own class",
    "test_objmodel.TestObjModel.testReduce": "pickles null requests, whose class is not MPI.Request here",
}


@pytest.fixture(scope="module")
def suite(request):
    """Fetch mpi4py's source; return the folder of its tests."""
    release = f"mpi4py-{version('mpi4py')}"
    home = Path(request.config.cache.mkdir("mpi4py"))
    archive = fetch(release.replace("-", "=="), home)
    shutil.rmtree(home / release, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(home, [m for m in tar.getmembers() if f"{release}/test/" in m.name])
    return home / release / "test"


def test_of_mpi4py_pass(start, suite):
    """If one engine fails, the others are interrupted, and the next tests run."""
    _, rc = start(4)
    dv = rc[:]
    dv.push({"SUITE": str(suite)}, block=True)
    dv.run(PROGRAM, block=True)
    ran, failed, bad = 0, set(), []
    for module in sorted(path.stem for path in suite.glob("test_*.py")):
        if module in LEFT_OUT:
            continue
        names = dv.apply_sync(lambda module: classes(module), module)  # noqa: F821
        assert names == [names[0]] * len(names)
        for name in names[0]:
            if "Self" in name:  # MPI.COMM_SELF is mpi4py's object
                continue
            call = dv.apply_async(lambda *args: run_class(*args), module, name)  # noqa: F821
            if not call.wait(WITHIN):
                bad.append(f"{module}.{name} waits: {rc.where()}")
                call.interrupt(timeout=WITHIN)
                continue
            for engine, (count, failures) in enumerate(call.get()):
                ran += count
                failed |= set(failures)
                bad += [
                    f"{test} on engine {engine}:\n{text}"
                    for test, text in failures.items()
                    if test not in INAPPLICABLE
                ]
    assert not bad, "\n".join(bad)
    assert not set(INAPPLICABLE) - failed, "these pass, or are no longer there"
    assert ran > 4 * 900
    assert dv.pull("comm.allreduce(rank)", block=True) == [6] * 4
