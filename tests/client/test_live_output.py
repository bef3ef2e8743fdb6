"""Output of engines during their task: it arrives when it is written, in order, and nothing is lost."""

from __future__ import annotations

import os
import pickle
import re
import sys
import time

import psutil
import pytest
from conftest import N, occupied
from proxy import Proxy
from waiting import until

from mpidirect import Client
from mpidirect.client.display.folding import WINDOW, Block, Line, OutputFolder
from mpidirect.client.display.show import Printer
from mpidirect.protocol.messages import DISPLAY, OUTPUT_LIMIT, STDERR, STDOUT
from mpidirect.protocol.names import CLEARED

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

WITHIN = 30  # seconds, on a machine with other work


def by_python():
    print("said")


def by_stderr():
    import sys

    sys.stderr.write("said\n")


def by_bytes():
    import sys

    sys.stdout.buffer.write(b"said\n")


def by_c():
    import ctypes

    ctypes.CDLL(None).puts(b"said")


def by_a_descriptor():
    import os

    os.write(1, b"said\n")


def by_a_process():
    import subprocess

    subprocess.run(["echo", "said"])


def by_a_thread():
    import threading

    threading.Thread(target=print, args=["said"]).start()


def without_a_newline():
    print("said", end="")


def flushed_without_a_newline():
    print("said", end="", flush=True)


WITHOUT_NEWLINES = [without_a_newline, flushed_without_a_newline]
WAYS = [by_python, by_stderr, by_bytes, by_c, by_a_descriptor, by_a_process, by_a_thread, *WITHOUT_NEWLINES]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_output_arrives_while_the_task_runs(rc, tmp_path, way):
    wait = occupied(tmp_path)

    def says(way, wait):
        way()
        wait()
        print("done")

    result = rc[0].apply_async(says, way, wait)
    stream = "stderr" if way is by_stderr else "stdout"
    until(lambda: "said" in result[stream])
    assert not result.ready()
    (tmp_path / "go on").touch()
    result.get(WITHIN)
    whole = result.stdout if stream == "stdout" else result.stderr + result.stdout
    assert whole == ("saiddone\n" if way in WITHOUT_NEWLINES else "said\ndone\n")


def mixed(count):
    """Numbers on one stream, written in all ways in turns."""
    import ctypes
    import os

    libc = ctypes.CDLL(None)
    for k in range(0, count, 3):
        print(k)
        libc.printf(b"%d\n", k + 1)
        os.write(1, b"%d\n" % (k + 2))


def test_output_of_different_writers_stays_in_order(dview):
    result = dview.apply_async(mixed, 3000)
    result.get(WITHIN)
    assert result.stdout == ["".join(f"{k}\n" for k in range(3000))] * N


def test_output_is_shown_while_the_task_runs(dview, tmp_path, capsys):
    wait = occupied(tmp_path)

    def says(wait):
        print("begun")
        wait()
        print("rank", rank)  # noqa: F821

    result = dview.apply_async(says, wait)
    shown = ""

    def has_begun():
        nonlocal shown
        shown += capsys.readouterr().out
        return shown.count("begun") and re.sub(r"\D", "", "".join(re.findall(r"\[.*?\]", shown)))

    with result.stream_output():
        until(has_begun)
        assert not result.ready()
        (tmp_path / "go on").touch()
        result.get(WITHIN)
    rest = capsys.readouterr().out
    assert "begun" not in rest.replace("[stdout:", "") or "rank" in rest
    assert sorted(re.findall(r"rank \d", shown + rest)) == [f"rank {k}" for k in range(N)]


def test_earlier_output_is_shown_once(rc, capsys):
    result = rc[0].apply_async(mixed, 3000)
    result.get(WITHIN)
    for _ in range(2):
        with result.stream_output():
            pass
        assert capsys.readouterr().out == "[stdout:0]\n" + "".join(f"{k}\n" for k in range(3000))


def test_displays_keep_their_place_between_printed_lines(rc, capsys):
    pytest.importorskip("IPython")

    def shows(seconds):
        import time

        for k in range(3):
            print("before", k)
            display(k)  # noqa: F821
            time.sleep(seconds)
        print("after")

    lines = [line for k in range(3) for line in (f"[stdout:0] before {k}", f"[output:0] {k}")]
    for seconds in (0.0, 0.05):
        result = rc[0].apply_async(shows, seconds)
        with result.stream_output():
            result.get(WITHIN)
        assert capsys.readouterr().out.splitlines() == [*lines, "[stdout:0] after"]
        assert len(result.outputs) == 3


def test_an_interrupt_loses_no_output(rc, tmp_path):
    wait = occupied(tmp_path)

    def says(wait):
        print("one")
        try:
            wait()
        finally:
            print("two")

    result = rc[0].apply_async(says, wait)
    until(lambda: result.stdout == "one\n")
    result.interrupt()
    assert result.stdout == "one\ntwo\n"


def in_pieces(directory, pieces):
    """Print a piece when a file requests it."""
    import time
    from pathlib import Path

    for piece in range(pieces):
        while not Path(directory, str(piece)).exists():
            time.sleep(0.001)
        for k in range(200):
            print(piece, k)


def test_a_broken_connection_loses_no_output(cluster, capsys, tmp_path):
    with Proxy(cluster.connection_file) as proxy, Client(proxy.info, timeout=20) as rc:
        result = rc[0].apply_async(in_pieces, str(tmp_path), 5)
        with result.stream_output():
            for piece in range(5):
                (tmp_path / str(piece)).touch()
                proxy.cut()  # while the piece is under way
                until(lambda: f"{piece} 199\n" in result.stdout)
            result.get(WITHIN)
    lines = "".join(f"{piece} {k}\n" for piece in range(5) for k in range(200))
    assert result.stdout == lines
    assert re.sub(r"\[stdout:0\]\s", "", capsys.readouterr().out) == lines


def test_another_client_gets_the_whole_output(cluster, rc, tmp_path):
    wait = occupied(tmp_path)

    def says(wait):
        print("one")
        wait()
        print("two")

    with Client(str(cluster.connection_file)) as first:
        result = first[0].apply_async(says, wait)
        until(lambda: result.stdout == "one\n")
        id = result.msg_ids[0]
    again = rc.get_result(id)
    (tmp_path / "go on").touch()
    again.get(WITHIN)
    assert again.stdout == "one\ntwo\n"


def test_later_output_of_a_thread_belongs_to_its_task(rc, tmp_path):
    wait = occupied(tmp_path)

    def begins(wait):
        import threading

        def late():
            wait()
            print("late")

        print("in time")
        threading.Thread(target=late).start()

    result = rc[0].apply_async(begins, wait)
    result.get(WITHIN)
    assert result.stdout == "in time\n"
    (tmp_path / "go on").touch()
    until(lambda: result.stdout == "in time\nlate\n")
    assert rc[0].apply_async(by_python).stdout in ("", "said\n")


@pytest.mark.parametrize("way", ["print(line)", "os.write(1, line.encode())"])
def test_endless_output_is_bounded_and_counted(rc, way):
    result = rc[0].execute(f"import os\nline = 'x' * 65536\nwhile True:\n    {way}")
    until(lambda: len(result.stdout) > OUTPUT_LIMIT // 2)
    result.interrupt()
    text = result.stdout
    assert len(text) < OUTPUT_LIMIT + 200
    assert int(re.search(r"… (\d+) more characters were dropped", text)[1]) > 0
    assert rc[0].execute("print('as before')", block=True).stdout == "as before\n"


def test_c_code_that_holds_pythons_lock_can_print_much(rc):
    """C code that holds Python's lock may print any amount."""

    def much():
        import ctypes

        libc = ctypes.PyDLL(None)
        for _ in range(3):
            libc.write(1, b"y" * 1_000_000, 1_000_000)

    result = rc[0].apply_async(much)
    result.get(WITHIN)
    assert result.stdout == "y" * 3_000_000


def processor_time(rc):
    """Return the seconds of processor time of this process, the controller and the engines."""
    pids = [os.getpid(), rc.facts["pid"], *(engine["pid"] for engine in rc.engines_info.values())]
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(time.user + time.system for time in times)


def test_many_lines_cost_little(dview):
    def prints():
        for k in range(16_000):
            print("line", k)

    before = processor_time(dview.client)
    result = dview.apply_async(prints)
    with result.stream_output():
        result.get(WITHIN)
    assert processor_time(dview.client) - before < 5
    assert len(set(result.stdout)) == 1


def test_an_engine_leaves_no_files_of_output(start):
    cluster, rc = start(1)
    rc[0].execute("print('said')", block=True)
    logs = cluster.log_directory
    rc.close()
    cluster.stop()
    assert not [path for path in logs.iterdir() if path.suffix in (".out", ".err")]


def test_at_the_prompt_of_ipython_on_a_terminal(cluster, tmp_path):
    pytest.importorskip("IPython")
    import pexpect

    ipython = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=NoColor"],
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb"},
        encoding="utf-8",
        timeout=60,
    )
    go_on = tmp_path / "go on"
    ipython.expect(r"In \[1\]")
    ipython.sendline(f"from mpidirect import Client; rc = Client({str(cluster.connection_file)!r})")
    ipython.expect(r"In \[2\]")
    ipython.sendline("%px import os, time")
    ipython.expect(r"In \[3\]")
    waits = f"[time.sleep(0.01) for _ in iter(lambda: os.path.exists({str(go_on)!r}), True)]"
    ipython.sendline(f"%px print('be' 'gun'); {waits}; print('en' 'ded')")
    ipython.expect("begun")
    assert not go_on.exists()
    go_on.touch()
    ipython.expect("ended")
    ipython.expect(r"In \[4\]")
    ipython.sendline("exit")
    ipython.expect(pexpect.EOF)


def test_in_a_notebook(cluster, tmp_path):
    """Printed text, displays and updates arrive while the cell runs, which continues after them."""
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client.manager")
    kernel, client = manager.start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    update, go_on = tmp_path / "update", tmp_path / "go on"
    cell = f"""%%px -t 0
import os, sys, time
print("begun")
handle = display({{"text/plain": "first", "text/html": "<b>first</b>"}}, raw=True, display_id=True)
while not os.path.exists({str(update)!r}):
    time.sleep(0.01)
handle.update({{"text/plain": "second", "text/html": "<b>second</b>"}}, raw=True)
for k in range(3):
    print(f"\\r{{k}}0%", end="", file=sys.stderr, flush=True)
    time.sleep(0.1)
while not os.path.exists({str(go_on)!r}):
    time.sleep(0.01)
print("\\r100%", file=sys.stderr)
"""
    seen: list[str] = []

    def see(message):
        content = message["content"]
        if message["msg_type"] == "stream":
            seen.append(content["text"])
        elif "data" in content:
            data = content["data"]
            seen.append(f"{message['msg_type']}: {data.get('text/html', data['text/plain'])}")
        for parts, file in ((("begun", "first"), update), (("second", "[stderr:0] 20%"), go_on)):
            if all(any(part in text for text in seen) for part in parts):
                file.touch()

    try:
        connect = f"from mpidirect import Client; rc = Client({str(cluster.connection_file)!r})"
        client.execute_interactive(connect, timeout=60, output_hook=see)
        reply = client.execute_interactive(cell, timeout=60, output_hook=see)
        assert reply["content"]["status"] == "ok", seen
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    told = "\n".join(seen)
    assert "[stdout:0] begun\n" in told
    assert "display_data: <b>second</b>" in told  # replaces the first one, or arrives together with it
    assert "[stderr:0] 100%\n" in told


def test_an_update_replaces_the_display(rc):
    pytest.importorskip("IPython")
    code = "handle = display(1, display_id=True)\nfor k in range(50):\n    handle.update(k)\ndisplay('other')"
    result = rc[0].execute(code)
    result.get(WITHIN)
    assert [output["data"]["text/plain"] for output in result.outputs] == ["49", "'other'"]


# -- folding ------------------------------------------------------------------------------------------


def fold(*steps, engines=range(4), final=True):
    """Return the shown labels and lines for a list of (engine, kind, text)."""
    folding = OutputFolder(engines)
    for engine, kind, text in steps:
        folding.add(engine, kind, text, 0.0)
    blocks = folding.pop_due(0.0 if final else WINDOW / 2, final)
    return [(block.engines, block.kind, [line.content for line in block.lines]) for block in blocks]


ALL = (0, 1, 2, 3)


def test_equal_lines_are_folded():
    steps = [(k, STDOUT, "a\nb\n") for k in range(4)]
    assert fold(*steps) == [(ALL, STDOUT, ["a\n", "b\n"])]


def test_a_line_of_all_engines_is_shown_at_once():
    steps = [(k, STDOUT, "a\n") for k in range(4)]
    assert fold(*steps, final=False) == [(ALL, STDOUT, ["a\n"])]
    assert fold(*steps[:3], final=False) == []


def test_lines_that_differ_stay_with_their_engine():
    steps = [(k, STDOUT, f"{k}\n{k}{k}\n") for k in range(4)]
    assert fold(*steps) == [((k,), STDOUT, [f"{k}\n", f"{k}{k}\n"]) for k in range(4)]


def test_equal_lines_after_other_lines_are_folded():
    steps = [(k, STDOUT, f"{k}\nsame\n") for k in range(4)]
    assert fold(*steps) == [*(((k,), STDOUT, [f"{k}\n"]) for k in range(4)), (ALL, STDOUT, ["same\n"])]


def test_no_order_changes_where_lines_cross():
    shown = fold((0, STDOUT, "a\nb\n"), (1, STDOUT, "b\na\n"))
    for engine, lines in ((0, ["a\n", "b\n"]), (1, ["b\n", "a\n"])):
        assert [line for block in shown if engine in block[0] for line in block[2]] == lines


def test_kinds_are_not_mixed():
    assert fold((0, STDOUT, "a\n"), (1, STDERR, "a\n"), (2, DISPLAY, b"a\n")) == [
        ((0,), STDOUT, ["a\n"]),
        ((1,), STDERR, ["a\n"]),
        ((2,), DISPLAY, [b"a\n"]),
    ]


def test_pieces_of_a_line_are_joined():
    assert fold((0, STDOUT, "a"), (1, STDOUT, "ab\n"), (0, STDOUT, "b\n")) == [((0, 1), STDOUT, ["ab\n"])]


def test_folding_many_lines_is_quick():
    for same in (True, False):
        folding = OutputFolder(range(64))
        began = time.process_time()
        for engine in range(64):
            folding.add(engine, STDOUT, "".join(f"{0 if same else engine} {k}\n" for k in range(1000)), 0.0)
        lines = sum(len(block.lines) for block in folding.pop_due(0.0, final=True))
        assert lines == (1000 if same else 64_000)
        assert time.process_time() - began < 2


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_clears_an_incomplete_line(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    cleared = Line(DISPLAY, pickle.dumps({"data": {CLEARED: True}, "metadata": {}}))
    printer = Printer()
    printer.show([Block((0, 1), STDOUT, [Line(STDOUT, "complete\n")]), Block((0,), DISPLAY, [cleared])])
    printer.show([Block((1,), STDOUT, [Line(STDOUT, "half")]), Block((0,), DISPLAY, [cleared])])
    printer.show([Block((1,), DISPLAY, [cleared]), Block((1,), STDOUT, [Line(STDOUT, "whole\n")])])
    printer.close()
    between = "\033[2K\r" if terminal else "\n"
    assert capsys.readouterr().out == f"[stdout:0-1] complete\n[stdout:1] half{between}[stdout:1] whole\n"
