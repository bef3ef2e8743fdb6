"""`require`: the requirements of a function are met before it runs, or it does not run."""

from __future__ import annotations

import json

import pytest

from mpidirect import CompositeError, UnmetDependency, require
from mpidirect.errors import UnmetDependencyError

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_modules_by_name(dview):
    @require("re", "os.path", js="json")
    def f(text):
        return re.sub("a", "b", text), os.path.basename("/x/y"), js.dumps([1])  # noqa: F821

    assert dview.apply_sync(f, "aa") == [("bb", "y", "[1]")] * 4


def test_modules_as_objects(dview):
    @require(json)
    def f():
        return json.loads("[1, 2]")

    assert dview.apply_sync(f) == [[1, 2]] * 4


def test_the_modules_are_in_the_namespace(dview):
    dview.apply_sync(require("string")(lambda: None))
    assert dview.pull("string.digits", block=True) == ["0123456789"] * 4


def test_functions(dview):
    def helper(x):
        return x + 1

    @require(helper)
    def f(x):
        return helper(x) * 2

    assert dview.apply_sync(f, 1) == [4] * 4
    assert dview.apply_sync(lambda: helper(1)) == [2] * 4


def test_functions_and_other_objects_under_a_name(dview):
    def helper(x):
        return x + 1

    class Kind:
        factor = 3

    @require("math", other=helper, Sort=Kind, level=5, js=json)
    def f(x):
        return other(x) * level, Sort.factor, js.dumps(math.floor(1.5))  # noqa: F821

    assert dview.apply_sync(f, 1) == [(10, 3, "1")] * 4
    assert f(1) == (10, 3, "1")
    assert dview["level"] == [5] * 4
    assert repr(f).endswith("f requiring math, json, other, Sort, level>")


def test_an_unmet_requirement_raises_before_the_function_runs(dview):
    @require("json", "no_such_module.part")
    def f():
        print("it runs")

    ar = dview.apply_async(f)
    with pytest.raises(CompositeError, match="no_such_module") as caught:
        ar.get()
    assert [failure.ename for failure in caught.value.elist] == ["UnmetDependency"] * 4
    assert ar.stdout == [""] * 4
    assert UnmetDependencyError is UnmetDependency


def test_a_module_that_fails_to_import_is_unmet_too(dview, tmp_path):
    (tmp_path / "broken_module.py").write_text("1/0\n")
    dview.push({"place": str(tmp_path)}, block=True)
    dview.execute("import sys; sys.path.insert(0, place)", block=True)
    with pytest.raises(CompositeError, match="UnmetDependency: broken_module can't be imported: Zero"):
        dview.apply_sync(require("broken_module")(lambda: 1))
    dview.execute("sys.path.remove(place)", block=True)


def test_required_functions_can_be_mapped(dview):
    assert dview.map_sync(require("math")(lambda x: math.floor(x)), [1.5, 2.5]) == [1, 2]  # noqa: F821


def test_required_functions_run_in_the_client(dview):
    @require("json")
    def f():
        """What it does."""
        return json.dumps(1)

    assert f() == "1"
    assert (f.__name__, f.__doc__) == ("f", "What it does.")


def test_invalid_requirements():
    with pytest.raises(TypeError, match="takes modules"):
        require(3)
