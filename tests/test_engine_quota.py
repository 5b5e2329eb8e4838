"""What an upload left at the service takes room, also when no job counts for it any more."""

from dataclasses import replace
from pathlib import Path

import pytest

from batcher.emulator.knobs import NoEof
from batcher.model import Limits
from tests.engine_bed import KNOBS, Bed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory for the table."""
    return tmp_path


def test_what_an_upload_of_a_killed_run_left_is_left_room_for(folder: Path) -> None:
    """The service kept it as failed; the list that sends its job again must not forget that it is there."""
    limits = Limits(pending=1, stored=1)
    bed = Bed(folder, 1_000, 1_001, knobs=replace(KNOBS, pending=1, stored=1, no_eof=NoEof.FAILED))
    bed.run(kill="before-seal", limits=limits)
    assert bed.account.stored == 1
    assert bed.run(limits=limits) is None
    assert bed.wrong() == []
    assert bed.account.tally.quota_refusals == 0
