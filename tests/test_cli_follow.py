"""What of a changed configuration file a run takes over while it works."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from batcher.bandwidth import Timetable
from batcher.cli.key import Key
from batcher.cli.place import place_of
from batcher.cli.session import Order, _take_changes
from batcher.cli.settings import read_settings
from batcher.model import Limits

Change = Callable[[str], None]


class Listening:
    """Stands for the engine and for the display: notes what it is told."""

    def __init__(self) -> None:
        self.limits: list[Limits] = []
        self.timetables: list[Timetable] = []
        self.notes: list[str] = []
        self.set_limits, self.set_bandwidth, self.note = self.limits.append, self.timetables.append, self.notes.append


@pytest.fixture
def listening() -> Listening:
    """Return what hears of the changes."""
    return Listening()


@pytest.fixture
def change(tmp_path: Path, listening: Listening) -> Change:
    """Return what writes the file anew while a run works that began with an empty one."""
    config = tmp_path / "config.toml"
    config.write_text("")
    settings = read_settings(config, {})
    order = Order(
        place_of(tmp_path / "out", None, ""), settings, settings.plan(), Key("k" * 16, "a test"), config=config
    )
    heard = cast("Any", listening)

    def write(text: str) -> None:
        nonlocal settings
        config.write_text(text)
        settings = _take_changes(heard, heard, order, settings)

    return write


def test_changed_limits_are_taken_over_once(change: Change, listening: Listening) -> None:
    """And told; the same file again says nothing."""
    change("max_pending = 7\n")
    change("max_pending = 7 # as before\n")
    assert listening.limits == [Limits(7, 2_000, 1_000, 10**10)]
    assert len(listening.notes) == 1


def test_another_api_in_the_file_changes_no_limit_of_the_run_that_works(change: Change, listening: Listening) -> None:
    """It counts from the next run on: this one goes on through the API it began with, within that one's limits."""
    change('api = "grpc"\n')
    assert (listening.limits, listening.notes) == ([], [])
    change('api = "grpc"\nmax_files = 12\n')
    assert listening.limits == [Limits(100, 2_000, 12, 10**10)]


def test_a_file_that_cannot_be_understood_changes_nothing(change: Change, listening: Listening) -> None:
    """What held before holds on, and the person is told."""
    change("max_pending = 'many'\n")
    assert (listening.limits, listening.timetables) == ([], [])
    assert listening.notes[0].startswith("The changed configuration is not used: max_pending")
