"""Modules beside a script or a notebook: engines have them, in the prompt's version."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from conftest import clear_engines

from mpidirect import Client

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


BEGIN = """
import os, sys
from mpidirect import Client
rc = Client({!r})
dv = rc[:]
"""


@pytest.fixture
def place(tmp_path, cluster):
    yield Place(tmp_path / "work", cluster)
    with Client(str(cluster.connection_file)) as client:
        clear_engines(client)


class Place:
    """A directory with a script and modules, which engines do not use."""

    def __init__(self, directory, cluster):
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self._cluster = cluster

    def write(self, **modules):
        """Write modules; ``_in_`` stands for a slash."""
        for name, text in modules.items():
            file = self.directory / f"{name.replace('_in_', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))

    def run(self, script, *, file="script.py", succeeds=True, **environment):
        """Run a script here to its end; return its output. The script has a client `rc` and a view `dv`."""
        begin = BEGIN.format(str(self._cluster.connection_file))
        path = self.directory / file
        path.write_text(begin + textwrap.dedent(script))
        done = subprocess.run(
            [sys.executable, str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            env={**os.environ, **environment},
        )
        assert (done.returncode == 0) is succeeds, done.stderr
        return (done.stdout if succeeds else done.stderr).strip()


def test_functions_classes_and_objects_of_modules_beside_the_script(place):
    place.write(
        helpers="""
            from base import SCALE

            class Point:
                def __init__(self, x):
                    self.x = x
                def scaled(self):
                    return SCALE * self.x

            def scaled(x):
                return SCALE * x

            shift = lambda x: scaled(x) + 1
            """,
        base="SCALE = 2",
    )
    place.run(
        """
        import helpers
        from helpers import Point, scaled
        rc[0].apply_sync(scaled, 3)
        # where other engines are, these files may not be
        for name in ("helpers.py", "base.py"):
            os.rename(os.path.join(sys.path[0], name), os.path.join(sys.path[0], name + ".away"))
        n = len(dv)
        assert dv.apply_sync(scaled, 3) == [6] * n
        assert dv.map_sync(scaled, range(8)) == list(range(0, 16, 2))
        assert dv.apply_sync(lambda: helpers.scaled(4)) == [8] * n
        assert dv.apply_sync(lambda: sum(helpers.scaled(k) for k in range(3))) == [6] * n
        assert dv.apply_sync(helpers.shift, 1) == [3] * n
        dv["p"] = Point(5)
        assert dv.apply_sync(lambda: p.scaled()) == [10] * n
        assert all(type(p) is Point for p in dv["p"])
        assert dv.apply_sync(Point.scaled, Point(1)) == [2] * n

        def inside():
            import helpers
            from base import SCALE
            return helpers.scaled(SCALE)
        assert dv.apply_sync(inside) == [4] * n
        """
    )


def test_packages_and_directories_without_init(place):
    place.write(
        pack_in___init__="from .inner import deep\nfrom . import other",
        pack_in_inner="from .other import N\ndef deep(): return __name__, N",
        pack_in_other="N = 7",
        pack_in_sub_in___init__="",
        pack_in_sub_in_leaf="def leaf(): return __name__",
        plain_in_tool="from .more import more\ndef tool(): return more() + 1",
        plain_in_more="def more(): return 1",
    )
    place.run(
        """
        import pack, pack.sub.leaf, plain.tool
        import shutil
        rc[0].apply_sync(pack.deep), rc[0].apply_sync(plain.tool.tool)
        for name in ("pack", "plain"):
            shutil.move(os.path.join(sys.path[0], name), os.path.join(sys.path[0], "away"  + name))
        n = len(dv)
        assert dv.apply_sync(pack.deep) == [("pack.inner", 7)] * n
        assert dv.apply_sync(lambda: pack.sub.leaf.leaf()) == ["pack.sub.leaf"] * n
        assert dv.apply_sync(plain.tool.tool) == [2] * n
        """
    )


def test_a_script_that_is_edited_and_run_again_has_its_new_modules(place):
    script = """
        from uses_it import answer
        assert dv.apply_sync(answer) == [answer()] * len(dv)
        def inside():
            import uses_it, leaf
            return uses_it.answer(), leaf.VALUE
        assert dv.apply_sync(inside) == [inside()] * len(dv), dv.apply_sync(inside)
        print(answer())
        """
    place.write(uses_it="from leaf import VALUE\ndef answer(): return VALUE", leaf="VALUE = 1")
    assert place.run(script) == "1"
    place.write(leaf="VALUE = 2")  # of the same size, within the same second
    assert place.run(script) == "2"
    place.write(uses_it="from leaf import VALUE\ndef answer(): return -VALUE")
    assert place.run(script) == "-2"
    alone = """
        def inside():
            import uses_it
            return uses_it.answer()
        print(dv.apply_sync(inside)[0])
        """
    place.write(leaf="VALUE = 3")
    assert place.run(alone) == "-3"
    place.write(leaf="VALUE = 4")
    assert (
        place.run("dv.execute('import uses_it; a = uses_it.answer()', block=True); print(dv['a'][0])") == "-4"
    )


def test_a_module_that_has_not_changed_keeps_its_state(place):
    place.write(
        counting="""
            import os
            count = 0
            def up():
                global count
                count += 1
                return count
            """
    )
    assert (
        place.run("import counting; dv.apply_sync(counting.up); print(dv.apply_sync(counting.up)[0])") == "2"
    )
    script = """
        import counting
        first = dv.apply_sync(counting.up)
        with dv.sync_imports(quiet=True):
            import counting
        dv.execute("import counting", block=True)
        print(first[0], dv.apply_sync(lambda: counting.up())[0])
        """
    assert place.run(script) == "3 4"


def test_reload_at_the_prompt(place):
    place.write(
        shapes="""
            class Box:
                size = 1
            def size(box): return box.size, Box.size
            """
    )
    place.run(
        """
        import importlib, pathlib, shapes
        n = len(dv)
        dv["box"] = shapes.Box()
        assert dv.apply_sync(lambda: shapes.size(box)) == [(1, 1)] * n
        file = pathlib.Path(shapes.__file__)
        file.write_text(file.read_text().replace("size = 1", "size = 2"))
        assert dv.apply_sync(lambda: shapes.size(box)) == [(1, 1)] * n  # as here
        importlib.reload(shapes)
        assert dv.apply_sync(lambda: shapes.size(box)) == [(1, 2)] * n  # objects keep their class
        file.write_text("def size(box): syntax error")
        try:
            importlib.reload(shapes)
        except SyntaxError:
            pass
        file.write_text("def size(box): return 3")
        importlib.reload(shapes)
        assert dv.apply_sync(shapes.size, None) == [3] * n
        """
    )


def test_a_new_version_that_fails_on_engines_is_told_until_it_succeeds(place):
    place.write(
        picky="import os\nassert not os.environ.get('PICKY')\ndef f(): return 1", user="from picky import f"
    )
    assert place.run("import picky, user; print(dv.apply_sync(user.f)[0])") == "1"
    place.write(picky="import os\nassert not os.environ.get('PICKY')\ndef f(): return 2")
    script = """
        import picky, user
        dv.execute("import os; os.environ['PICKY'] = 'yes'", block=True)
        for _ in range(2):
            try:
                dv.apply_sync(user.f)
            except Exception as e:
                assert "AssertionError" in str(e), e
            else:
                raise SystemExit("this should have failed")
        dv.execute("import os; del os.environ['PICKY']", block=True)
        print(dv.apply_sync(user.f)[0])
        """
    assert place.run(script) == "2"


def test_modules_of_one_name_of_two_scripts(place, tmp_path, cluster):
    other = Place(tmp_path / "other", cluster)
    place.write(common="here = 'first'\nonly_first = 1\ndef f(): return here, 'only_first' in globals()")
    other.write(common="here = 'second'\ndef f(): return here, 'only_first' in globals()")
    script = "import common; print(*dv.apply_sync(common.f)[0])"
    inside = """
        def inside():
            import common
            return common.f()
        print(*dv.apply_sync(inside)[0])
        """
    for _ in range(2):
        assert place.run(script) == "first True"
        assert other.run(script) == "second False"
        assert place.run(inside) == "first True"
        assert other.run(inside) == "second False"


def test_tracebacks_have_the_lines_of_the_prompt(place):
    place.write(wrong="def g():\n    return 1 / 0  # here\n")
    place.run(
        """
        import wrong
        file = wrong.__file__
        try:
            rc[0].apply_sync(wrong.g)
        except Exception:
            pass
        open(file, "w").write("another\\nline\\n")
        try:
            dv.apply_sync(wrong.g)
        except Exception as e:
            text = "".join(error.traceback for error in e.elist)
        assert f'File "{file}", line 2, in g' in text and "return 1 / 0  # here" in text, text
        """
    )


def test_too_long_sources_are_not_sent(place):
    place.write(large="text = '''" + "x" * (1 << 20) + "'''\ndef f(): return len(text)")
    place.run(
        """
        import large
        rc[0].apply_sync(large.f)
        directory, away = sys.path[0], sys.path[0] + "-away"
        os.mkdir(away)
        os.rename(large.__file__, away + "/large.py")
        def loads():
            return dv.apply_sync(large.f)
        try:
            loads()
        except Exception as e:
            assert "1,048,576 bytes" in str(e) and "pip install" in str(e) and "sys.path.append" in str(e), e
        else:
            raise SystemExit("this should have failed")
        dv.execute(f'import sys; sys.path.append({away!r})', block=True)
        assert loads() == [1 << 20] * len(dv)
        dv.execute(f'sys.path.remove({away!r})', block=True)
        """
    )


def test_engines_look_in_their_current_directory(place):
    (place.directory / "elsewhere").mkdir()
    place.write(elsewhere_in_lying_there="N = 5")
    place.run(
        """
        before = dv.apply_sync(os.getcwd)
        os.chdir(os.path.join(sys.path[0], "elsewhere"))
        dv.apply_sync(os.chdir, os.getcwd())
        try:
            dv.execute("import lying_there", block=True)
            assert dv["lying_there.N"] == [5] * len(dv)
        finally:
            dv.scatter("cwd", before, flatten=True, block=True)
            dv.execute("import os; os.chdir(cwd)", block=True)
        """
    )


def test_autoreload_in_ipython(place):
    pytest.importorskip("IPython")
    place.write(edited="def f(): return 1\n", using="from edited import f\ndef g(): return f()\n")
    place.run(
        """
        import pathlib
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config
        config = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
        shell = InteractiveShell.instance(config=config, user_ns={"dv": dv})
        def cell(text):
            result = shell.run_cell(text)
            result.raise_error()
            return result.result
        cell("%load_ext autoreload")
        cell("%autoreload 2")
        cell("import edited, using")
        n = len(dv)
        assert cell("dv.apply_sync(using.g)") == [1] * n
        pathlib.Path(sys.path[0], "edited.py").write_text("def f(): return 22\\n")
        assert cell("dv.apply_sync(using.g)") == [22] * n
        assert cell("dv.apply_sync(lambda: using.g() + edited.f())") == [44] * n
        """,
        IPYTHONDIR=str(place.directory / "ipython"),
    )


def test_reload_of_a_view_brings_an_edit_to_engines_that_do_not_see_the_file(place, tmp_path):
    place.run(
        f"""
        # Under this path each process has another directory.
        directory = f"/proc/self/fd/{{os.open({str(tmp_path)!r}, os.O_RDONLY)}}"
        sys.path.insert(0, directory)
        file = os.path.join(directory, "formula.py")
        def write(text):
            with open(file, "w") as f:
                f.write(text)
        write("def f(): return 1")
        import formula
        from formula import f
        n = len(dv)
        assert dv.apply_sync(formula.f) == [1] * n
        dv.execute("import formula; from formula import f as g", block=True)

        write("def f(): return 'new'")
        dv.reload("formula")
        assert f() == "new" and dv.apply_sync(f) == ["new"] * n
        assert dv.apply_sync(lambda: (formula.f(), g())) == [("new", "new")] * n

        write("def f(): return 'third version'")
        dv.reload(formula)
        assert dv.pull("g()", block=True) == ["third version"] * n
        """
    )


def test_reload_of_an_installed_module_executes_it_again(place):
    place.run(
        """
        dv.execute("import colorsys; colorsys.rgb_to_hsv = None", block=True)
        dv.reload("colorsys")
        assert "(reload)" in repr(dv.get_result())
        assert all(dv.pull("callable(colorsys.rgb_to_hsv)", block=True))
        """
    )


def test_calls_without_the_users_modules_send_none():
    import numpy

    from mpidirect.serialize import user_modules

    assert (
        user_modules.gather([]) == user_modules.gather(["numpy", "os", "mpidirect.client", "no_such"]) == b""
    )
    assert numpy and user_modules.gather([__name__])
