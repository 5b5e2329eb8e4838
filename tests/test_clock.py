"""Time and chance: one is never set back, the other comes from a seed."""

import time

import pytest

from batcher.clock import Dice, SystemClock, wall_clock


def test_the_clock_tells_utc_in_milliseconds() -> None:
    """Without anybody setting it, the clock agrees with the machine's own."""
    assert abs(SystemClock().now() - wall_clock()) < 2_000


def test_a_wall_clock_that_is_set_changes_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock is read once; a jump of a day forward or back is not followed."""
    clock = SystemClock()
    before = clock.now()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    assert 0 <= clock.now() - before < 5_000
    assert wall_clock() < before - 80_000_000


def test_hours_of_a_suspended_machine_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boot clock goes on while the machine sleeps, and so do the waits."""
    clock = SystemClock()
    before = clock.now()
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: real(which) + 8 * 3_600)
    assert clock.now() - before >= 8 * 3_600_000


def test_the_clock_works_where_there_is_no_boot_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems have the monotonic clock only."""
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert abs(SystemClock().now() - wall_clock()) < 2_000


def test_one_seed_gives_one_night() -> None:
    """Streams of the same seed and name draw the same numbers."""
    assert Dice(5).stream("a").random() == Dice(5).stream("a").random()
    assert Dice(5).stream("a").random() != Dice(6).stream("a").random()


def test_a_draw_in_one_stream_does_not_shift_another() -> None:
    """A seed keeps its night when the code grows."""
    dice, other = Dice(5), Dice(5)
    dice.stream("new").random()
    assert dice.stream("a").random() == other.stream("a").random()
    assert dice.stream("b").random() != dice.stream("a").random()


def test_a_stream_goes_on_where_it_was() -> None:
    """Asking for a stream again does not start it again."""
    dice = Dice(5)
    assert dice.stream("a") is dice.stream("a")


def test_without_a_seed_every_night_is_another() -> None:
    """Chance is real outside tests, and its seed is on record."""
    assert Dice().seed != Dice().seed
