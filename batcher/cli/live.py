"""The live view: a few lines at the bottom of the terminal, drawn again several times a second."""

import sys

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from batcher.cli.meter import Snapshot
from batcher.cli.views import failure, live_lines
from batcher.states import State
from batcher.store.table import Move
from batcher.text import show_text


class LiveView:
    """Draws with rich. All text is put in as plain text, so that no name can be taken for markup."""

    seconds = 0.25

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, force_terminal=True, highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._live.start()

    def show(self, snapshot: Snapshot) -> None:
        """Draw."""
        (full, empty, label), lines = live_lines(snapshot, max(20, self._console.width - 1))
        head = Text.assemble((full, "green"), (empty, "dim"), label, no_wrap=True, overflow="crop")
        body = [Text(line, style=_style(line), no_wrap=True, overflow="crop") for line in lines]
        self._live.update(Group(head, *body), refresh=True)

    def moved(self, move: Move) -> None:
        """Print a failure above."""
        if move.target is State.FAILED:
            self._live.console.print(Text(failure(move), style="red"))

    def note(self, text: str) -> None:
        """Print above."""
        self._live.console.print(Text(show_text(text), style="bold"))

    def close(self) -> None:
        """Give the lines back."""
        self._live.stop()


def _style(line: str) -> str:
    return "yellow" if line.startswith("waiting") else ""
