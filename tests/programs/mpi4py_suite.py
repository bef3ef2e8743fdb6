"""On engines: runs classes of mpi4py's own tests, which lie in the folder ``SUITE``."""

import importlib
import inspect
import sys
import unittest

sys.path.insert(0, SUITE)
sys.dont_write_bytecode = True
for absent in ("cupy", "numba"):
    sys.modules.setdefault(absent, None)  # nothing here has a GPU
BACKENDS, TYPES = 2, ("i", "d")  # of arrays, and of their elements: with all of them it takes many minutes


def shorten():
    """Have the tests go through a few kinds of arrays."""
    kinds = importlib.import_module("arrayimpl").ArrayBackends
    del kinds[BACKENDS:]
    for kind in kinds:
        for code in set(kind.TypeMap) - set(TYPES):
            del kind.TypeMap[code]


def same_handle(self, comm):
    """What mpi4py makes of a handle is of its own class, not of a class of ours."""
    for found in (MPI.Comm.fromint(comm.toint()), MPI.Comm.f2py(comm.py2f())):
        self.assertEqual(found, comm)
        self.assertIsInstance(comm, type(found))


def classes(module):
    """The names of its classes of tests."""
    found = importlib.import_module(module)
    if module == "test_comm_topo":
        found.BaseTestTopo.checkHandle = same_handle
    return [
        name
        for name, kind in inspect.getmembers(found, inspect.isclass)
        if issubclass(kind, unittest.TestCase) and kind.__module__ == module
    ]


def run_class(module, name):
    """Run the tests of a class: how many there were, and those that failed, each with why."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(getattr(sys.modules[module], name))
    result = unittest.TestResult()
    suite.run(result)
    bad = {test.id(): text for test, text in (*result.failures, *result.errors)}
    return result.testsRun - len(result.skipped), bad


shorten()
