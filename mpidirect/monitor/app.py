"""The live view: a table of engines that is updated, and keys for the user's actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from textual.app import App, ComposeResult
from textual.widgets import DataTable, Footer, Static

from ..client import Client
from ..errors import MPIDirectError
from .cells import COLUMNS, cells, summary
from .dialogs import Question, Text
from .samples import EngineSample, Sampler


class EngineMonitor(App):
    """The live view of the engines of a cluster.

    Parameters
    ----------
    client : Client
        The connection to the cluster.
    title : str
        The title of the view.
    interval : float
        Seconds between two samples.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #summary { background: $primary; color: $text; padding: 0 1; }
    DataTable { height: 1fr; }
    Question, Text { align: center middle; }
    #question { width: auto; padding: 1 3; background: $panel; border: round $warning; }
    Text VerticalScroll { width: 90%; height: 80%; padding: 1 2; background: $panel; border: round $primary; }
    """
    BINDINGS = [
        ("i", "interrupt(False)", "Interrupt"),
        ("I", "interrupt(True)", "Interrupt all"),
        ("r", "restart", "Restart"),
        ("s,enter", "stack", "Stack"),
        ("a", "stacks", "All stacks"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, client: Client, title: str, interval: float) -> None:
        super().__init__()
        self._client = client
        self._sampler = Sampler(client)
        self._name = title
        self._interval = interval
        self._shown: dict[int, tuple[str, ...]] = {}
        self._samples_now = False

    def compose(self) -> ComposeResult:
        """Return the parts of the view."""
        yield Static(self._name, id="summary", markup=False)
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to take samples."""
        table = self.query_one(DataTable)
        for column in COLUMNS:
            table.add_column(column, key=column)
        table.focus()
        self._sample()
        self.set_interval(self._interval, self._sample)

    # -- samples ------------------------------------------------------------------------------------------

    def _sample(self) -> None:
        """Take a sample in a thread, unless the last one is not complete."""
        if not self._samples_now:
            self._samples_now = True
            self.run_worker(self._take_sample, thread=True)

    def _take_sample(self) -> None:
        try:
            samples = self._sampler.sample()
        except MPIDirectError as e:
            self.call_from_thread(self._show_problem, str(e))
        else:
            self.call_from_thread(self._show, samples)
        finally:
            self._samples_now = False

    def _show_problem(self, text: str) -> None:
        self.query_one("#summary", Static).update(f"{self._name} | {text}")

    def _show(self, samples: Sequence[EngineSample]) -> None:
        self.query_one("#summary", Static).update(f"{self._name} | {summary(samples)}")
        table = self.query_one(DataTable)
        rows = {sample.engine: cells(sample) for sample in samples}
        if list(rows) != list(self._shown):
            table.clear()
            for engine, row in rows.items():
                table.add_row(*row, key=str(engine))
        else:
            for engine, row in rows.items():
                for column, new, old in zip(COLUMNS, row, self._shown[engine], strict=True):
                    if new != old:
                        table.update_cell(str(engine), column, new, update_width=True)
        self._shown = rows

    # -- keys ---------------------------------------------------------------------------------------------

    @property
    def _selected(self) -> int:
        """The engine of the row with the cursor."""
        row: int = self.query_one(DataTable).cursor_row
        return list(self._shown)[row]

    def action_interrupt(self, whole: bool) -> None:
        """Interrupt the selected engine, or all engines."""
        targets = None if whole else self._selected
        self._do("interrupted", partial(self._client.interrupt, targets))

    def action_restart(self) -> None:
        """Restart the selected engine after a question."""
        engine = self._selected

        def restart(agreed: bool | None) -> None:
            if agreed:
                self._do(f"engine {engine} is new", partial(self._client.restart, [engine]))

        self.push_screen(Question(f"Restart engine {engine}? Its namespace and its calls are lost."), restart)

    def action_stack(self) -> None:
        """Show the stack of the selected engine."""
        self._show_stacks(self._selected)

    def action_stacks(self) -> None:
        """Show the stacks of all engines, equal ones together."""
        self._show_stacks(None)

    def on_data_table_row_selected(self) -> None:
        """Show the stack of the selected engine: the table itself takes the key enter."""
        self.action_stack()

    def _show_stacks(self, engine: int | None) -> None:
        def show(text: str) -> None:
            if len(self.screen_stack) == 1:  # the key may have been pressed twice
                self.push_screen(Text(text))

        self._do("", lambda: self.call_from_thread(show, str(self._client.stacks(engine))))

    def _do(self, done: str, action: Callable[[], object]) -> None:
        """Run an action in a thread, and tell its end or its error."""

        def run() -> None:
            try:
                action()
            except MPIDirectError as e:
                self.call_from_thread(self.notify, str(e), severity="error", timeout=10, markup=False)
            else:
                if done:
                    self.call_from_thread(self.notify, done, markup=False)

        self.run_worker(run, thread=True)
