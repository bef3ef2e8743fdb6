"""CPython's own tests of pickles pass with the pickles of mpidirect (protocol 5)."""

from __future__ import annotations

import unittest

import pickles_as_cloudpickle as ours
import pytest

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only]  # the same with any MPI

OTHERS = "is about the other protocols"
BUFFERS = "large buffers are frames of ours, and no callback is asked for them"
BY_VALUE = "cloudpickle pickles this by value"
INAPPLICABLE = {
    "test_bad_getattr": OTHERS,
    "test_compat_pickle": OTHERS,
    "test_float_format": OTHERS,
    "test_pickle_to_2x": OTHERS,
    "test_global_ext1": OTHERS,
    "test_global_ext2": OTHERS,
    "test_global_ext4": OTHERS,
    "test_picklebuffer_error": OTHERS,
    "test_buffer_callback_error": BUFFERS,
    "test_buffers_error": BUFFERS,
    "test_buffers_numpy": BUFFERS,
    "test_oob_buffers": BUFFERS,
    "test_c_methods": BY_VALUE,
    "test_py_methods": BY_VALUE,
    "test_local_lookup_error": BY_VALUE,
    "test_dynamic_class": "cloudpickle needs classes that can be hashed",
    "test_framed_write_sizes_with_delayed_writer": "it looks into a pickler of CPython's",
}


def test_of_cpython_pass(monkeypatch):
    tester = pytest.importorskip("test.pickletester", reason="this Python comes without its tests")
    monkeypatch.setattr(tester, "protocols", [5])

    class Ours(tester.AbstractPickleTests, unittest.TestCase):
        def dumps(self, obj, protocol=None, **options):
            return ours.dumps(obj)

        def loads(self, data, **options):
            return ours.loads(data)

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Ours)
    result = unittest.TestResult()
    suite.run(result)
    failed = {
        test.id().rpartition(".Ours.")[2].partition(" ")[0]: text
        for test, text in [*result.failures, *result.errors]
    }
    for name in INAPPLICABLE:
        failed.pop(name, None)
    assert not failed, "\n".join(f"{name}: {text.strip().splitlines()[-1]}" for name, text in failed.items())
    assert result.testsRun > 80
