"""Output, displays and log messages of engines: with the result, and at the prompt."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from mpidirect import Cluster

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def typed(monkeypatch):
    """Make this process a prompt."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)


def by_engine(shown):
    """Return the shown kinds and texts by engine, folded or not."""
    found = {}
    for label, text in re.findall(r"^\[(\w+:[\d,-]+)\]\s(.*?\n)(?=\[\w+:|\Z)", shown, re.M | re.S):
        kind, _, ids = label.partition(":")
        for part in ids.split(","):
            first, _, last = part.partition("-")
            for engine in range(int(first), int(last or first) + 1):
                found[engine] = [*found.get(engine, []), (kind, text)]
    return found


def of_all(*outputs):
    return {engine: list(outputs) for engine in range(4)}


SAID = ("stdout", "said\n")


def test_blocking_calls_show_what_is_printed_at_a_prompt(dview, typed, capsys, tmp_path):
    dview.block = True
    program = tmp_path / "program.py"
    program.write_text("print('said')\n")
    for call in (
        lambda: dview.apply(lambda: print("said")),
        lambda: dview.apply_sync(lambda: print("said")),
        lambda: dview.map(lambda x: print("said"), range(4)),
        lambda: dview.map_sync(lambda x: print("said"), range(4)),
        lambda: dview.remote()(lambda: print("said"))(),
        lambda: dview.parallel()(lambda part: print("said"))(range(4)),
        lambda: dview.execute("print('said')"),
        lambda: dview.run(program),
    ):
        call()
        assert by_engine(capsys.readouterr().out) == of_all(SAID)


def test_output_of_asynchronous_calls_is_not_shown(dview, typed, capsys):
    result = dview.apply_async(lambda: print("said"))
    assert result.get() == [None] * 4
    assert capsys.readouterr().out == ""
    result.display_outputs()
    assert by_engine(capsys.readouterr().out) == of_all(SAID)


def test_scripts_show_nothing_by_themselves(dview, capsys):
    dview.apply_sync(lambda: print("said"))
    assert capsys.readouterr().out == ""


def test_output_before_an_error_is_shown(dview, typed, capsys):
    def fails():
        print("before")
        1 / 0

    with pytest.raises(Exception, match="ZeroDivisionError"):
        dview.apply_sync(fails)
    assert by_engine(capsys.readouterr().out) == of_all(("stdout", "before\n"))


def test_at_the_prompt_of_python(cluster):
    lines = [
        "from mpidirect import Client",
        f"dv = Client({str(cluster.connection_file)!r})[:]",
        "dv.apply_sync(lambda: print('said'))",
    ]
    typed = subprocess.run(
        [sys.executable, "-i", "-c", ""], input="\n".join(lines), capture_output=True, text=True, timeout=60
    )
    said, _, value = typed.stdout.partition("[None")
    assert by_engine(said) == of_all(SAID) and value == ", None, None, None]\n"


def test_at_the_prompt_of_ipython(prompt, dview):
    prompt.names["dview"] = dview
    prompt("def f():\n    print('said')\n    display(rank)\n")
    prompt("_ = dview.apply_sync(f)")
    assert by_engine(prompt.shown) == {k: [SAID, ("output", f"{k}\n")] for k in range(4)}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Engines that have not loaded IPython yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPIDIRECT_DIR", str(tmp_path_factory.mktemp("fresh")))
        with Cluster(n=3) as rc:
            yield iter(rc)


@pytest.mark.parametrize("imports", ["from IPython.display import display", "import IPython.display", ""])
def test_displays_of_a_function(fresh, imports):
    """Also for the first function that an engine runs."""
    pytest.importorskip("IPython")
    view = next(fresh)
    assert not view.apply_sync(lambda: "IPython" in __import__("sys").modules)
    scope: dict = {}
    name = "IPython.display.display" if imports.startswith("import") else "display"
    code = f"""
class Rich:
    def _repr_html_(self):
        return "<b>rich</b>"
def f(fails=False):
    {imports or "pass"}
    print("printed")
    {name}(Rich())
    if fails:
        1 / 0
    return "returned"
"""
    exec(code, scope)
    for fails in (False, True):
        result = view.apply_async(scope["f"], fails)
        result.wait(20)
        assert result.stdout == "printed\n"
        assert [output["data"]["text/html"] for output in result.outputs] == ["<b>rich</b>"]
    silent = view.apply_async(abs, 1)
    assert silent.get() == 1
    assert silent.outputs == []


def test_outputs_that_are_cleared(rc):
    pytest.importorskip("IPython")
    code = (
        "from IPython.display import clear_output\n"
        "from mpidirect.datapub import publish_data\n"
        "publish_data({'kept': 1}); print('printed')\n"
        "for k in range(3): clear_output(wait=True); display(k)"
    )
    result = rc[0].execute(code)
    reply = result.get()
    assert [output["data"]["text/plain"] for output in result.outputs] == ["2"]
    assert [output["data"]["text/plain"] for output in reply.outputs] == ["2"]
    assert (result.data, result.stdout) == ({"kept": 1}, "printed\n")


def test_too_many_displays_are_dropped_with_a_note(rc):
    pytest.importorskip("IPython")

    def much():
        for _ in range(6):
            display({"text/plain": "x" * 1024 * 1024}, raw=True)  # noqa: F821

    outputs = rc[0].apply_async(much)
    outputs.wait(20)
    assert [len(output["data"]["text/plain"]) > 1000 for output in outputs.outputs] == [True] * 3 + [False]
    assert "3 more displays were dropped" in outputs.outputs[-1]["data"]["text/plain"]


def test_displays_of_failing_code(rc):
    pytest.importorskip("IPython")
    result = rc[0].execute("display(5); 1/0")
    result.wait(20)
    assert [output["data"]["text/plain"] for output in result.outputs] == ["5"]


def test_logging_goes_to_stderr(dview, typed, capsys):
    def warns():
        import logging

        logging.warning("careful")
        logging.getLogger("mine").error("worse")

    result = dview.apply_async(warns)
    result.get()
    assert result.stderr == ["WARNING:root:careful\nERROR:mine:worse\n"] * 4
    dview.apply_sync(warns)
    assert capsys.readouterr().err.count("WARNING:root:careful") >= 1


def test_logging_is_set_up_by_the_user(rc):
    def informs():
        import logging

        logging.basicConfig(level=logging.INFO, format="mine: %(message)s", force=True)
        logging.info("so it is")

    def back():
        import logging

        logging.basicConfig(level=logging.WARNING, format=logging.BASIC_FORMAT, force=True)

    result = rc[0].apply_async(informs)
    result.get()
    assert result.stderr == "mine: so it is\n"
    rc[0].apply_sync(back)


def test_replies_contain_output_and_displays(dview):
    pytest.importorskip("IPython")
    replies = dview.execute("print(rank)\ndisplay(rank)\nrank + 1", silent=False, block=True).get()
    assert [reply.stdout for reply in replies] == ["0\n", "1\n", "2\n", "3\n"]
    assert [reply.outputs[0]["data"]["text/plain"] for reply in replies] == ["0", "1", "2", "3"]
    assert all(re.fullmatch(r"<ExecuteReply\[\d+\]: \d>", repr(reply)) for reply in replies)


@pytest.mark.parametrize(
    ("code", "shown"), [("42", "42"), ("42;", ""), ("42;  # no", ""), ("a = ';'\na", "';'")]
)
def test_a_semicolon_keeps_the_value_back(rc, code, shown):
    pytest.importorskip("IPython")
    assert rc[0].execute(code, silent=False, block=True).get().text == shown


CELL = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3]);"


def plot(then=""):
    import matplotlib.pyplot as plt

    figure = plt.figure()
    plt.plot([1, 2, 3])
    if then == "show":
        plt.show()
    if then == "fail":
        1 / 0
    return figure if then == "return" else None


def pictures(result):
    """Return the formats of an engine's displays, without plain text."""
    result.wait(60)
    return [kind for output in result.outputs for kind in output["data"] if kind != "text/plain"]


@pytest.fixture(scope="module")
def plotters(tmp_path_factory):
    """Engines that have not loaded matplotlib yet."""
    pytest.importorskip("matplotlib_inline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPIDIRECT_DIR", str(tmp_path_factory.mktemp("plotters")))
        patch.delenv("MPLBACKEND", raising=False)
        with Cluster(n=3) as rc:
            yield rc


@pytest.mark.parametrize("engine", [0, 1])
def test_figures_are_displayed_once(plotters, engine):
    """The first figure may be made by a cell, or by a function."""
    pytest.importorskip("matplotlib")
    view = plotters[engine]
    loaded = "[name for name in ('IPython', 'matplotlib') if name in __import__('sys').modules]"
    assert view.apply_sync(eval, loaded) == []
    calls = [
        lambda: view.execute(CELL),
        lambda: view.execute("plt.plot([1])\nplt.show()"),
        lambda: view.apply_async(plot),
        lambda: view.apply_async(plot, "show"),
        lambda: view.apply_async(plot, "return"),
        lambda: view.apply_async(plot, "fail"),
    ]
    for call in calls[2:] + calls[:2] if engine else calls:
        assert pictures(call()) == ["image/png"]
        assert pictures(view.execute("print('nothing to plot')")) == []
        assert pictures(view.apply_async(abs, 1)) == []


def test_a_figure_that_is_returned_is_closed(plotters):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    assert type(plotters[0].apply_sync(plot, "return")).__name__ == "Figure"
    assert pyplot.get_fignums() == before


def test_the_format_of_figures_is_chosen(plotters):
    view = plotters[2]
    view.execute("%config InlineBackend.figure_format = 'svg'", block=True)
    for cell in ("%matplotlib inline\n" + CELL, CELL, "plt.plot([1])\nplt.show()"):
        assert pictures(view.execute(cell)) == ["image/svg+xml"]
    assert pictures(view.apply_async(plot)) == ["image/svg+xml"]


def test_programs_and_processes_save_figures(plotters, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(f"{CELL}\nimport sys\nplt.savefig(sys.argv[1] if sys.argv[1:] else 'here.png')\n")
    view = plotters[0]
    view.execute(f"import os, subprocess, sys\nos.chdir({str(tmp_path)!r})", block=True)
    assert pictures(view.run(program)) == ["image/png"]
    assert pictures(view.execute(f"subprocess.run([sys.executable, {str(program)!r}, 'there.png'])")) == []
    assert (tmp_path / "here.png").stat().st_size and (tmp_path / "there.png").stat().st_size


def test_the_error_of_a_figure_is_reported(plotters):
    bad = plotters[0].execute("plt.title(r'$\\nothing$');")
    assert pictures(bad) == []
    assert r"Unknown symbol: \nothing" in bad.stderr


def test_another_backend_of_matplotlib_is_left_alone(start, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "svg")
    view = start(1, prepared=False)[1][0]
    assert pictures(view.execute(CELL)) == []
    assert view.apply_sync(eval, "__import__('matplotlib').get_backend()") == "svg"
    assert pictures(view.execute("import matplotlib\nmatplotlib.use('Agg')\n" + CELL)) == []
    assert pictures(view.apply_async(plot)) == []
