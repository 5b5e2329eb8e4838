"""Recognitions that take their own time, and what that means for the file at the service."""

import pytest

from batcher.emulator.account import Account
from batcher.emulator.objects import Audio, Config, Failure, Outcome, Report
from batcher.model import RemoteStatus, Transcript
from tests.emulator_tools import HandClock, new_core, send


@pytest.fixture
def clock() -> HandClock:
    """Return a clock that the test moves."""
    return HandClock()


def statuses(account: Account) -> list[RemoteStatus]:
    """Return the statuses in the list, oldest first."""
    return [seen.status for seen in reversed(account.survey())]


class Slow:
    """A recognizer that answers when the test tells it to."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def wants_audio(self, config: Config) -> bool:
        """Want the recording."""
        return True

    def recognise(self, audio: Audio, config: Config, report: Report) -> None:
        """Keep the report for later."""
        self.reports.append(report)


@pytest.mark.parametrize(
    ("outcome", "status"), [(Transcript(()), RemoteStatus.COMPLETED), (Failure("noise"), RemoteStatus.FAILED)]
)
def test_a_slow_recognition_keeps_the_file_at_work(clock: HandClock, outcome: Outcome, status: RemoteStatus) -> None:
    """A file is transcribed until the recognition reported; then its recording is dropped."""
    slow = Slow()
    core = new_core(clock, slow)
    file = send(core)
    account = core.account("key")
    clock.pass_ms(100_000)
    assert statuses(account) == [RemoteStatus.PROCESSING]
    assert file.audio.content is not None
    assert file.audio.content.read() == b"audio"
    slow.reports[0](outcome)
    assert statuses(account) == [status]
    assert file.ended == clock.now()
    assert file.audio.content.closed


def test_a_recognition_that_reports_early_waits_for_the_clock(clock: HandClock) -> None:
    """Quick machines do not make the emulated service quicker than it should be."""
    slow = Slow()
    core = new_core(clock, slow)
    send(core)
    slow.reports[0](Transcript(()))
    assert statuses(core.account("key")) == [RemoteStatus.QUEUED]


def test_a_recognition_of_a_file_that_vanished_is_ignored(clock: HandClock) -> None:
    """Nothing breaks when the words come too late."""
    slow = Slow()
    core = new_core(clock, slow)
    file = send(core)
    clock.pass_ms(100_000)
    account = core.account("key")
    account.vanish(file.id)
    slow.reports[0](Transcript(()))
    assert (account.pending, account.stored) == (0, 0)
