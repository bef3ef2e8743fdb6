"""The Jupyter kernel that runs cells on all engines, tested by Jupyter's client."""

from __future__ import annotations

import os
import signal

import pytest
from jupyter_client.manager import KernelManager
from waiting import until

from mpidirect import Client
from mpidirect._prompt import without_colors
from mpidirect.cluster.cluster import Cluster, ClusterState
from mpidirect.job import processes
from mpidirect.kernel.install import specification

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

LIMIT = 60


class Notebook:
    """A kernel and its client."""

    def __init__(self, directory):
        spec = specification("default", 2)
        self.manager = KernelManager()
        self.manager.kernel_spec.argv = spec["argv"]
        self.manager.kernel_spec.env = spec["env"]
        self.manager.start_kernel(cwd=str(directory))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT)

    def run(self, code, typed=()):
        """Run a cell; return its texts, its outputs' data, and its error. `typed` is the user's input."""
        told, answers = [], list(typed)
        reply = self.client.execute_interactive(
            code,
            timeout=LIMIT,
            output_hook=told.append,
            allow_stdin=bool(typed),
            stdin_hook=lambda question: self.client.input(answers.pop(0)),
        )
        self.contents = contents = [(message["msg_type"], message["content"]) for message in told]
        text = "".join(content["text"] for kind, content in contents if kind == "stream")
        data = [
            content["data"]
            for kind, content in contents
            if kind in ("display_data", "execute_result", "update_display_data")
        ]
        return text, data, reply["content"]

    @property
    def remaining(self):
        """The texts and HTML pages that the last cell shows at its end."""
        shown, waits = [], False
        for kind, content in self.contents:
            if kind == "clear_output" and content["wait"]:
                waits = True
            elif kind == "clear_output" or (waits and kind in ("stream", "display_data")):
                shown, waits = [], False
            if kind == "stream":
                shown += [("", line) for line in content["text"].splitlines()]
            elif kind in ("display_data", "update_display_data"):
                id = content["transient"].get("display_id", "")
                text = content["data"].get("text/html", content["data"]["text/plain"])
                if kind == "display_data":
                    shown.append((id, text))
                else:
                    shown = [(each, text if each == id else former) for each, former in shown]
        return [text for _, text in shown]

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=not self.manager.is_alive())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    directory = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MPIDIRECT_")]:
            patch.delenv(name)
        patch.setenv("MPIDIRECT_DIR", str(directory / "home"))
        patch.setenv("IPYTHONDIR", str(directory / "ipython"))
        yield directory


@pytest.fixture(scope="module")
def notebook(home):
    notebook = Notebook(home)
    try:
        notebook.first = notebook.run("started = True")
        notebook.run("%%local\nfrom mpidirect.client.display import folding\nfolding.WINDOW = 2.0")
        yield notebook
    finally:
        notebook.close()


def test_the_first_cell_starts_the_cluster_and_shows_progress(notebook):
    assert Cluster.from_profile().state is ClusterState.RUNNING
    lines = [data["text/plain"] for data in notebook.first[1]]
    assert lines[0] == "mpidirect: starting a cluster" and "mpidirect: 2 engines are ready" in lines
    assert len(lines) == len(set(lines))
    assert not any("━" in line or "╌" in line for line in lines)  # no bars beside
    text, _, reply = notebook.run("print(rank, size)")
    assert reply["status"] == "ok"
    assert sorted(text.splitlines()) == ["[stdout:0] 0 2", "[stdout:1] 1 2"]


def test_a_debugger_asks_for_commands_in_the_notebook(notebook):
    code = "%%targets 1\nbreakpoint()\nk = 1"
    text, _, reply = notebook.run(code, ["p rank + 100", "q"])
    assert "engine 1 stopped in breakpoint()" in text and "101" in text
    assert "left by q" in str(reply["traceback"])
    _, _, reply = notebook.run(code)
    assert "no debugger at" in str(reply["traceback"])  # the frontend supports no input


def test_after_an_error_debug_is_the_debugger_of_the_engines(notebook):
    notebook.run("1 / (rank - 1)")
    text, _, reply = notebook.run("%debug", ["p rank + 200", "q"])
    assert reply["status"] == "ok" and "201" in text
    text, _, reply = notebook.run("%pdb on")
    assert reply["status"] == "error" and "%debug debugs the first engine that has failed" in text


def test_equal_outputs_are_folded(notebook):
    assert notebook.run("print('the same')")[0] == "[stdout:0-1] the same\n"


def test_cells_run_on_some_engines_or_here(notebook):
    assert notebook.run("%%targets 1\nprint(rank)")[0] == "[stdout:1] 1\n"
    assert notebook.run("%%targets 0-1\nprint(1)")[0] == "[stdout:0-1] 1\n"
    text, _, reply = notebook.run("%%local\nprint(rc.ids, 'rank' in globals())")
    assert (text, reply["status"]) == ("[0, 1] False\n", "ok")


@pytest.mark.parametrize(
    "inner", ["%timeit -n1 -r1 kept()", "%time kept()", "%prun kept()", "%%timeit -n1 -r1\nkept()"]
)
def test_magics_of_a_local_cell_run_code_here(notebook, inner):
    notebook.run("%%local\nfrom IPython import get_ipython\nran = []\ndef kept(): ran.append(1)")
    assert notebook.run(f"%%local\n{inner}")[2]["status"] == "ok"
    assert int(notebook.run("%%local\nprint(len(ran))")[0]) >= 1
    assert notebook.run("print('ran' in globals())")[0] == "[stdout:0-1] False\n"


def test_px_in_a_local_cell_shows_its_output(notebook):
    text, data, _ = notebook.run("%%local\nprint('here')\n%px print('there')\n%px 40 + 2")
    assert text.splitlines()[:2] == ["here", "[stdout:0-1] there"]
    assert "42" in text and not data
    assert notebook.run("%%px --local\nprint('both')")[0].count("both\n") == 2


def test_a_syntax_error_is_shown_once_and_nothing_is_sent(notebook):
    for cell in ("x = = 3", "%%targets 0\nx = = 3", "ok = 1\nx = = 3"):
        text, _, reply = notebook.run(cell)
        shown = text + "\n".join(reply["traceback"])
        assert shown.count("SyntaxError") == 1 and shown.count("x = = 3") == 1, shown
        assert "get_ipython" not in shown and "[0" not in shown
    assert notebook.run("print('ok' in globals())")[0] == "[stdout:0-1] False\n"


def test_magics_without_a_percent_sign_run_on_the_engines(notebook, home):
    before = notebook.run("%%local\n%pwd")[1][0]["text/plain"]
    assert notebook.run("cd /")[2]["status"] == "ok"
    assert notebook.run("import os; print(os.getcwd())")[0] == "[stdout:0-1] /\n"
    assert notebook.run("%%local\n%pwd")[1][0]["text/plain"] == before


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("%%targets\nprint(1)", "UsageError: %%targets takes all, 0, 0-3,7 or a slice like ::2"),
        ("%%targets x\nprint(1)", "UsageError: %%targets takes all, 0, 0-3,7 or a slice like ::2, not 'x'"),
        ("%%targets 9\nprint(1)", "UsageError: %%targets 9: No such engine: 9. The engines are 0-1"),
        ("%%targets 5:\nprint(1)", "UsageError: %%targets 5:: no engine; the engines are 0-1"),
        ("%%local 0\nprint(1)", "UsageError: %%local takes nothing on its line"),
        ("%local rc.ids", "UsageError: Line magic function `%local` not found (But cell magic `%%local`"),
        ("%autopx", "UsageError: each cell of this kernel runs on the engines already"),
    ],
)
def test_a_mistake_in_the_first_line_is_told_with_the_remedy(notebook, cell, remedy):
    text, _, reply = notebook.run(cell)
    assert reply["status"] == "error"
    assert text.startswith(remedy) and len(text.splitlines()) == 1


def test_magics_and_shell_commands_run_on_the_engines(notebook):
    assert "[stdout:0-1] here\n" in notebook.run("!echo here")[0]
    assert notebook.run("%%time\nx = 1")[2]["status"] == "ok"


def test_results_are_displayed_rich(notebook):
    code = "from IPython.display import HTML\nHTML(f'<b>{rank}</b>')"
    data = notebook.run(code)[1]
    assert {"<b>0</b>", "<b>1</b>"} <= {each.get("text/html") for each in data}


def test_equal_rich_results_are_displayed_once(notebook):
    notebook.run("get_ipython().execution_count = 7")
    text, data, _ = notebook.run("from IPython.display import HTML\nHTML('<b>same</b>')")
    assert text.startswith("Out[0-1:") and text.count("Out[") == 1
    assert [each["text/html"] for each in data] == ["<b>same</b>"]


def test_each_engine_displays(notebook):
    code = "from IPython.display import HTML, display\nfor k in range(2): display(HTML(f'<b>{rank} {k}</b>'))"
    data = [each["text/html"] for each in notebook.run(code)[1]]
    assert sorted(data) == [f"<b>{rank} {k}</b>" for rank in range(2) for k in range(2)]


CLEARS = """
from IPython.display import HTML, clear_output
for k in range(3):
    clear_output(wait={wait})
    print("step", k, rank)
    display(HTML(f"<b>{{k}} {{rank}}</b>"))
"""


@pytest.mark.parametrize("wait", [True, False])
def test_an_engine_clears_its_own_output(notebook, wait):
    notebook.run(CLEARS.format(wait=wait))
    assert sorted(notebook.remaining) == [
        *("<b>2 0</b>", "<b>2 1</b>"),
        *("[output:0]", "[output:1]", "[stdout:0] step 2 0", "[stdout:1] step 2 1"),
    ]


def test_an_engine_does_not_clear_the_output_of_others(notebook):
    notebook.run(
        "from IPython.display import clear_output\n"
        "print('the same'); print('of', rank); comm.barrier()\n"
        "if rank == 0: clear_output()\n"
        "comm.barrier(); print('later')"
    )
    texts = [line.removeprefix("[stdout:1]").strip() for line in notebook.remaining]
    assert [text for text in texts if text] == ["the same", "of 1", "[stdout:0-1] later"]
    notebook.run("print('kept', rank); clear_output(wait=True)")
    assert sorted(notebook.remaining) == ["[stdout:0] kept 0", "[stdout:1] kept 1"]
    notebook.run("print('gone', rank); clear_output()")
    assert notebook.remaining == []


def test_displays_that_are_updated_are_one_where_they_are_equal(notebook):
    notebook.run(
        "from IPython.display import HTML, display\n"
        "handle = display(HTML('<b>begin</b>'), display_id=True); comm.barrier()\n"
        "if rank: handle.update(HTML('<b>half</b>')); print('one')\n"
        "comm.barrier(); print('last')"
    )
    assert sorted(notebook.remaining) == [
        *("<b>begin</b>", "<b>half</b>", "[output:0]", "[output:1]"),
        *("[stdout:0-1] last", "[stdout:1] one"),
    ]
    notebook.run(
        "handle = display(HTML('<b>begin</b>'), display_id=True); comm.barrier()\n"
        "handle.update(HTML(f'<b>half {rank}</b>')); comm.barrier()\n"
        "handle.update(HTML('<b>end</b>'))"
    )
    assert notebook.remaining == ["[output:0-1]", "<b>end</b>"]


def test_nothing_is_left_of_the_status_of_a_long_cell(notebook):
    notebook.run("print('begun'); import time; time.sleep(2.5)")  # longer than the first report takes
    assert any("0 of 2 engines done" in str(content) for _, content in notebook.contents)
    assert notebook.remaining == ["[stdout:0-1] begun"]


def test_an_error_of_an_engine_is_the_cells(notebook):
    reply = notebook.run("1 / rank")[2]
    assert reply["status"] == "error"
    shown = "\n".join(reply["traceback"])
    assert "ZeroDivisionError" in shown and "get_ipython()" not in shown


def test_names_are_completed_and_described_by_the_engines(notebook):
    notebook.run("residual_norm = 3.5")
    reply = notebook.client.complete("residual_no", reply=True, timeout=LIMIT)["content"]
    assert reply["matches"] == ["residual_norm"]
    described = notebook.client.inspect("residual_norm", reply=True, timeout=LIMIT)["content"]
    assert described["found"] and "3.5" in described["data"]["text/plain"]


def test_the_stop_button_interrupts_the_engines(notebook):
    notebook.run("kept = rank")
    id = notebook.client.execute("comm.Barrier() if rank else __import__('time').sleep(60)")
    with Client() as rc:
        until(lambda: all(rc.where().values()))
        notebook.manager.interrupt_kernel()
        while (reply := notebook.client.get_shell_msg(timeout=LIMIT))["parent_header"].get("msg_id") != id:
            pass
        assert reply["content"]["status"] == "error"
        assert rc[:].pull("kept", block=True) == [0, 1]


def test_the_restart_button_starts_all_engines_anew(notebook):
    cluster = Cluster.from_profile().cluster
    with Client() as rc:
        before = rc[:].apply_sync(os.getpid)
        notebook.manager.restart_kernel()
        notebook.client.wait_for_ready(timeout=LIMIT)
        text, _, reply = notebook.run("print('kept' in globals())")
        assert reply["status"] == "ok" and "False" in text and "True" not in text
        assert not set(before) & set(rc[:].apply_sync(os.getpid))
    assert Cluster.from_profile().cluster == cluster


def test_a_kernel_uses_a_running_cluster_and_keeps_it(home, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(home / "other"))
    cluster = Cluster(n=2).start().wait()
    try:
        with cluster.connect_client() as rc:
            rc.send_signal(signal.SIGKILL, 1)
            until(lambda: rc.ids == [0])
        notebook = Notebook(home)  # the kernel does not wait for a dead engine
        assert notebook.run("print(rank)")[0] == "[stdout:0] 0\n"
        _, _, reply = notebook.run("import os; os.write(2, b'last words'); os.kill(os.getpid(), 9)")
        shown = without_colors("\n".join(reply["traceback"]))
        assert shown.startswith("[0:execute]: EngineError: engine 0 (process ") and "SIGKILL" in shown
        assert shown.index("Hint: ") < shown.index("last words")
        notebook.close()
        assert cluster.state is ClusterState.RUNNING
    finally:
        cluster.stop()


def test_the_cluster_of_a_kernel_ends_with_it(home, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(home / "third"))
    notebook = Notebook(home)
    notebook.run("1")
    cluster = Cluster.from_profile()
    assert cluster.state is ClusterState.RUNNING
    notebook.close()
    until(lambda: cluster.state is ClusterState.STOPPED)
    until(lambda: processes.members(cluster.cluster) == [])
