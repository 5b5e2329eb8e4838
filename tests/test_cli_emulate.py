"""`batcher emulate`: what its flags mean."""

from batcher.cli.emulate import _knobs
from batcher.emulator.knobs import RestKnobs


def test_a_speed_that_was_asked_for_holds_for_long_jobs_too() -> None:
    """Without a speed a job takes under two seconds; with one the recording's length alone decides."""
    usual, slow = _knobs(100, 2000, None, RestKnobs()), _knobs(100, 2000, 0.5, RestKnobs())
    assert usual.queue_ms + usual.max_work_ms < 2000
    assert slow.speed == 0.5
    assert slow.max_work_ms > 3_600_000
