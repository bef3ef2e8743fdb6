"""The prompt of a debugger on an engine: one engine at a time, while other engines wait for their turn."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Collection

from ... import _prompt
from ...errors import format_ids
from ...protocol import messages
from ..calls.source_lines import place_in_words
from ..session.session import Session

GATHER_TIME = 0.5  # seconds that other engines of a call have to stop as well
STOP_TIMEOUT = 1.0  # seconds that an engine has to stop again before other engines get the prompt
_PDB = "(Pdb) "  # the prompt of a debugger that takes commands
_ENGINE = re.compile(r"engine\s+(\d+)\s*")
_ALL = re.compile(r"all\s+(.+)")


class DebuggerPrompt:
    """Reads the commands of debuggers from the user.

    Parameters
    ----------
    session : Session
        The session, whose waits call `serve`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._debuggers = session.debuggers
        self.is_active = False  # whether the user is being asked
        self._engine = -1  # the engine that has the prompt
        self._others: set[int] = set()  # other waiting engines that the user was told of
        self._task = ""  # the task of that engine
        self._announced = -1, ""  # the engine and the task whose stop was last shown
        self._shown = -1, -1  # the engine and the number of the prompt whose text was last shown
        self._output_shown = 0  # number of pieces of the engine's output that were shown
        self._last_command = 0.0  # when the last command was sent (monotonic clock)

    def serve(self, done: Callable[[], bool], engines: Collection[int] | None = None) -> None:
        """Ask the user for one command for one engine, and send it.

        Parameters
        ----------
        done : callable
            Returns whether the wait for the engines is over.
        engines : collection of int, optional
            The engines that may get the prompt; by default all.

        Raises
        ------
        KeyboardInterrupt
            When the user types Ctrl-C.
        """
        self.is_active = True
        try:
            self._serve(done, engines)
        finally:
            self.is_active = False

    def _serve(self, done: Callable[[], bool], engines: Collection[int] | None) -> None:
        prompt = self._next(done, engines)
        if prompt is None:
            return
        self._show(prompt)
        try:
            line: str | None = input(_labelled(prompt.prompt, prompt.engine))
        except EOFError:
            print()
            line = None
        except KeyboardInterrupt:
            print()
            raise
        except Exception as e:  # a notebook without input
            self._debuggers.command([*self._debuggers.prompts], None, f"the client can't ask its user: {e}")
            return
        self._obey(prompt, line)

    def serve_until_they_run(self, engines: Collection[int]) -> bool:
        """Serve these engines while one of them waits; return whether one has waited."""
        has_served = False
        while any(engine in self._debuggers.prompts for engine in engines):
            has_served = True
            try:
                self.serve(_never, engines)
                self._await_engine(_never)
            except KeyboardInterrupt:
                print("The engines wait on: rc.debug() debugs again, rc.interrupt() ends their code.")
                break
        return has_served

    def _next(
        self, done: Callable[[], bool], engines: Collection[int] | None
    ) -> messages.DebuggerPrompt | None:
        """Return the prompt to show: that of the engine with the last prompt, unless its code continues."""
        self._await_engine(done)
        if self._current() is None:
            self._await_others(done)
        waiting = {
            engine: prompt
            for engine, prompt in sorted(self._debuggers.prompts.items())
            if engines is None or engine in engines
        }
        if done() or not waiting:
            return None
        current = self._current()
        return current if current in waiting.values() else next(iter(waiting.values()))

    def _current(self) -> messages.DebuggerPrompt | None:
        """Return the prompt of the engine that had the last prompt, if its task is still the same."""
        prompt = self._debuggers.prompts.get(self._engine)
        return prompt if prompt is not None and prompt.id == self._task else None

    def _await_others(self, done: Callable[[], bool]) -> None:
        """Give the other engines of a call a moment to stop, because the first engine is debugged first."""
        prompts = self._debuggers
        calls = {
            call
            for prompt in prompts.prompts.values()
            if (call := self._session.calls.find(prompt.id)) is not None
        }

        def all_stopped() -> bool:
            return done() or all(
                engine in prompts.prompts or engine in call.replies
                for call in calls
                for engine in call.targets
            )

        self._session.wait_silently(all_stopped, GATHER_TIME)

    def _await_engine(self, done: Callable[[], bool]) -> None:
        """Give the engine of the last command a moment to stop again."""
        call = self._session.calls.find(self._task)
        engine, prompts = self._engine, self._debuggers

        def stopped_or_ended() -> bool:
            return done() or engine in prompts.prompts or (call is not None and engine in call.replies)

        patience = self._last_command + STOP_TIMEOUT - time.monotonic()
        if patience > 0:
            self._session.wait_silently(stopped_or_ended, patience)

    def _show(self, prompt: messages.DebuggerPrompt) -> None:
        """Show where the engine is, and the output of its code and of its debugger."""
        is_new = (prompt.engine, prompt.id) != self._announced
        self._announced = self._engine, self._task = prompt.engine, prompt.id
        self._show_output(is_new)
        if is_new:
            print(f"engine {prompt.engine} stopped in breakpoint() at {place_in_words(prompt.place)}")
        self._show_others(is_new)
        if (prompt.engine, prompt.number) != self._shown:
            self._shown = prompt.engine, prompt.number
            print(in_colors(prompt.text), end="", flush=True)

    def _show_output(self, is_new: bool) -> None:
        """Show the engine's output since the last command, unless a live display shows it."""
        call = self._session.calls.find(self._task)
        if call is None:
            return
        for flush in list(call.displays):
            flush()
        items = call.engine_output(self._engine).items
        if not (is_new or call.displays):
            for kind, text in items[self._output_shown :]:
                if isinstance(text, str):
                    print(text, end="", file=sys.stderr if kind == messages.STDERR else sys.stdout)
        self._output_shown = len(items)

    def _show_others(self, is_new: bool) -> None:
        """Show the other waiting engines, if the user was not told of them."""
        others = {engine for engine in self._debuggers.prompts if engine != self._engine}
        known, self._others = self._others, others
        if others - known or (is_new and others):
            first, *more = ids = sorted(others)
            print(
                f"engine{'s' * bool(more)} {format_ids(ids)} wait{'s' * (not more)} too: "
                f"'engine {first}' goes there, 'all c' is a command for all"
            )

    def _obey(self, prompt: messages.DebuggerPrompt, line: str | None) -> None:
        """Send a line to its engine, or execute it here."""
        engines = [prompt.engine]
        if line is not None and prompt.prompt == _PDB:
            if found := _ENGINE.fullmatch(line):
                self._switch(int(found[1]))
                return
            if found := _ALL.fullmatch(line):
                engines, line = sorted(self._debuggers.prompts), found[1]
        if self._debuggers.prompts.get(prompt.engine) is not prompt:
            print(f"*** engine {prompt.engine} waits no longer")
            return
        self._last_command = time.monotonic()
        self._debuggers.command(engines, line)

    def _switch(self, engine: int) -> None:
        if engine in self._debuggers.prompts:
            self._engine, self._task, self._last_command = engine, self._debuggers.prompts[engine].id, 0.0
        else:
            print(f"*** engine {engine} does not wait in a debugger")


def _never() -> bool:
    return False


def _labelled(prompt: str, engine: int) -> str:
    """Return a prompt that names the engine.

    Examples
    --------
    >>> _labelled("(Pdb) ", 2), _labelled(">>> ", 2)
    ('(Pdb 2) ', '[2] >>> ')
    """
    return f"(Pdb {engine}) " if prompt == _PDB else f"[{engine}] {prompt}"


def in_colors(text: str) -> str:
    """Return the text of a debugger, without colours if this prompt has none."""
    return text if _shows_colors() else _prompt.without_colors(text)


def _shows_colors() -> bool:
    shell = _prompt.ipython_shell()
    if shell is not None:
        return "nocolor" not in str(shell.colors).lower() and (
            getattr(shell, "kernel", None) is not None or sys.stdout.isatty()
        )
    return sys.stdout.isatty()
