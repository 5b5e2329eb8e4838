"""Whole runs over REST in virtual time: what is different where an upload and its transcription are two objects."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.knobs import Load, RestKnobs
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.errors import AccountRefused
from batcher.model import Limits
from batcher.service.rest import politeness
from batcher.service.simulated import Pace
from batcher.store.db import Database, T, Work
from tests.engine_bed import KEY, KNOBS, Bed
from tests.test_engine import HOUR, at, drain_at, folder

__all__ = ["folder"]  # the fixture

FREE = RestKnobs(requests_per_minute=0)


def a_bed(folder: Path, *sizes: int, pace: Pace | None = None, **knobs: object) -> Bed:
    """Return a batch whose service is REST."""
    rest = replace(FREE, **knobs)  # type: ignore[arg-type]
    return Bed(folder, *sizes, knobs=replace(KNOBS, rest=rest), api="rest", pace=pace)


def once(call: Call, fault: Fault) -> object:
    """Return what goes wrong with the first call of a kind."""
    left = [fault]
    return lambda asked: left.pop() if asked is call and left else None


def test_a_quiet_run_leaves_neither_transcriptions_nor_files(folder: Path) -> None:
    """Two objects a recording, five requests a recording and a few looks."""
    bed = a_bed(folder, *range(1_000, 1_050))
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.rest.tally.requests.total() / 50 <= 6
    assert bed.run() is None
    assert bed.rest.tally.accepted.total() == 50


def test_an_upload_whose_answer_was_lost_is_sent_again_at_once_and_its_audio_is_deleted(folder: Path) -> None:
    """It cost nothing; the next look finds what it left."""
    bed = a_bed(folder, 1_000)
    bed.trouble = once(Call.UPLOAD, Fault(Trouble.LOST_AFTER))  # type: ignore[assignment]
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.rest.tally.uploads.total() == 2
    assert bed.rest.tally.accepted.total() == 1
    assert "uncertain" not in [state for (state,) in bed.rows("SELECT target FROM history")]


def test_audio_that_shows_up_late_is_waited_for_and_deleted_before_the_batch_ends(folder: Path) -> None:
    """A minute after such an upload the list tells; nothing is left behind."""
    bed = a_bed(folder, 1_000)
    bed.trouble = once(Call.UPLOAD, Fault(Trouble.LATE, ms=30_000))  # type: ignore[assignment]
    assert bed.run() is None
    assert bed.wrong() == []
    assert 60 <= bed.world.moment <= 80


def test_a_refused_transcription_takes_its_audio_along_and_keeps_nobody_waiting(folder: Path) -> None:
    """The upload is deleted at once, so there is no last look either."""
    bed = a_bed(folder, 1_000)
    bed.rest.limits = Limits(0, 2_000, 1_000, 10**10)

    def raise_limits() -> None:
        assert bed.rest.files == []
        bed.rest.limits = Limits(100, 2_000, 1_000, 10**10)

    assert bed.run(at(3, raise_limits)) is None
    assert bed.wrong() == []
    assert bed.rest.tally.quota_refusals == 1
    assert bed.world.moment < 50


def test_a_created_transcription_whose_answer_was_lost_is_found_again(folder: Path) -> None:
    """By its reference, in one listing; it is not paid for twice."""
    bed = a_bed(folder, *range(1_000, 1_010))
    bed.trouble = once(Call.SUBMIT, Fault(Trouble.LOST_AFTER))  # type: ignore[assignment]
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.rest.tally.accepted.total() == 10
    assert bed.world.moment < 60


def test_a_transcription_that_was_never_created_is_sent_again_after_the_settle_time(folder: Path) -> None:
    """Its audio is not deleted before: the answer might still have been lost on the way back."""
    bed = a_bed(folder, 1_000)
    bed.trouble = once(Call.SUBMIT, Fault(Trouble.LOST_BEFORE))  # type: ignore[assignment]
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.rest.tally.accepted.total() == 1
    assert 15 * 60 <= bed.world.moment <= 17 * 60


class SlowCommits(Database):
    """A table on a disk that takes its time."""

    async def write(self, work: Work[T]) -> T:
        """Commit, and come back later."""
        result = await super().write(work)
        await anyio.sleep(0.3)
        return result


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_stop_while_the_seal_is_committed_waits_for_the_answer(folder: Path, api: str) -> None:
    """Nothing becomes uncertain that was never sent, nor what was: it is heard out."""
    bed = a_bed(folder, *range(1_000, 1_004))
    bed.api = api
    bed.database = lambda database: SlowCommits(database._conn, database._run)

    async def drain_at_the_seal(engine: Engine) -> None:
        while not bed.rows("SELECT 1 FROM job WHERE state = 'sealed'"):  # noqa: ASYNC110 - the table has no event
            await anyio.sleep(0.01)
        engine.drain()

    assert bed.run(drain_at_the_seal) is None
    assert bed.states()["uncertain"] == 0
    assert bed.states()["submitted"] >= 1


ERRORS = [("internal_error", 2), ("file_not_found", 2), ("max_audio_duration_reached", 1), ("no_such_type", 1)]


@pytest.mark.parametrize(("error", "sent"), ERRORS)
def test_what_the_service_failed_is_sent_again_by_its_type(folder: Path, error: str, sent: int) -> None:
    """Once, if nothing is wrong with the recording; otherwise only by `retry`."""
    bed = a_bed(folder, 1_000, job_errors=((error, 1),))
    assert bed.run() is None
    assert bed.states() == ({"done": 1} if sent == 2 else {"failed": 1})
    assert bed.rest.tally.accepted.total() == sent
    assert [*bed.rest.files, *bed.rest.jobs] == []


def test_a_job_that_goes_once_more_is_not_sealed_any_more(folder: Path) -> None:
    """A list from before the deletion may still show the object that is gone: it must not be adopted again."""
    bed = a_bed(folder, 1_000, job_errors=(("internal_error", 1),))
    waiting = list[object]()

    async def watch(engine: Engine) -> None:
        while not waiting:
            await anyio.sleep(0.05)
            if bed.rest.tally.accepted.total():
                engine.set_limits(Limits(0))
            waiting.extend(bed.rows("SELECT sealed_at FROM job WHERE state = 'waiting' AND forgiven = 1"))

        engine.drain()

    assert bed.run(watch) is None
    assert waiting == [(None,)]


def test_a_job_that_failed_for_the_accounts_sake_stops_this_run_and_not_the_next(folder: Path) -> None:
    """Many may have failed so before anybody looks: the run after the mending sends them all again."""
    bed = a_bed(folder, *range(1_000, 1_012), job_errors=(("organization_balance_exhausted", 12),))
    stopped = bed.run()
    assert isinstance(stopped, AccountRefused)
    assert "organization_balance_exhausted" in str(stopped)
    assert bed.states()["failed"] == 0
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.states() == {"done": 12}


def test_too_many_requests_count_against_no_job_and_halve_no_share(folder: Path) -> None:
    """The pace is the budget's business."""
    bed = a_bed(folder, *range(1_000, 1_040), requests_per_minute=60)
    shares = []

    async def watch(engine: Engine) -> None:
        while True:
            await anyio.sleep(5)
            assert engine._context is not None
            shares.append(engine._context.headroom.share)

    assert bed.run(watch) is None
    assert bed.wrong() == []
    assert bed.rest.tally.reasons["requests"] > 0
    assert set(shares) == {1.0}
    assert bed.rows("SELECT count(*) FROM history WHERE event = 'rejected'") == [(0,)]


@pytest.mark.parametrize("rate", [1, 2, 6, 20])
def test_however_slow_the_pace_everything_has_its_turn(folder: Path, rate: int) -> None:
    """Surveys leave turns for what they are taken for."""
    bed = a_bed(folder, *range(1_000, 1_005))
    bed.requests_per_minute = rate
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.world.moment <= 60 * 5 * 12 / rate + 3 * politeness(rate)


@pytest.mark.parametrize("rate", [10, 60])
def test_a_service_that_allows_less_than_we_ask_for_starves_nothing(folder: Path, rate: int) -> None:
    """The pace is learned from its refusals; the batch goes on, if slowly."""
    bed = a_bed(folder, *range(1_000, 1_020), requests_per_minute=rate)
    bed.requests_per_minute = 200
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.world.moment <= HOUR


def test_lists_of_several_pages_that_our_own_work_crosses_do_not_starve_the_batch(folder: Path) -> None:
    """Such a list proves no absence, but it is young enough to tell how much room there is."""
    bed = a_bed(folder, *range(1_000, 1_060))
    bed.rest.limits = Limits(100, 5_000, 1_000, 10**10)
    bed.rest.add_foreign(2_500, work_ms=10, force=True)
    assert bed.run(limits=Limits(8, 5_000, 1_000, 10**10)) is None
    assert bed.wrong() == []
    assert bed.world.moment < 5 * 60
    assert len([job for job in bed.rest.jobs if job.foreign]) == 2_500


def test_what_others_store_is_left_room_for(folder: Path) -> None:
    """Files and bytes of other clients count against the account as ours do."""
    bed = a_bed(folder, *[1_000] * 20, files=30, bytes=25_000)
    for _ in range(15):
        bed.rest.add_foreign_file(1_000)
    assert bed.run(limits=Limits(100, 2_000, 30, 25_000)) is None
    assert bed.wrong() == []
    assert bed.rest.tally.files_peak <= 30
    assert bed.rest.tally.bytes_peak <= 25_000
    assert bed.rest.tally.quota_refusals == 0


def test_what_only_counts_show_is_left_room_for(folder: Path) -> None:
    """The web page's transcriptions are in no list, and the account is full of them: nothing is refused."""
    bed = a_bed(folder, *range(1_000, 1_040), playground=Load(transcriptions=1_990))
    assert bed.run() is None
    assert bed.wrong() == []
    assert (bed.rest.tally.quota_refusals, bed.rest.tally.accepted.total()) == (0, 40)


def test_a_window_of_long_jobs_costs_six_requests_a_job_and_no_more(folder: Path) -> None:
    """Five are the job's own; the listings between them serve several, however long the jobs take."""
    knobs = replace(KNOBS, min_work_ms=200_000, max_work_ms=400_000, rest=FREE)
    bed = Bed(folder, *range(1_000, 1_300), knobs=knobs, api="rest")
    assert bed.run(limits=Limits(60, 2_000, 1_000, 10**10)) is None
    assert bed.wrong() == []
    assert bed.rest.tally.requests.total() / 300 <= 6


def test_a_window_made_small_by_refusals_says_what_the_service_said(folder: Path) -> None:
    """As long as less is sent for it."""
    bed = a_bed(folder, *range(1_000, 1_030), siblings=Load(pending=95))
    seen = list[str]()

    async def look(engine: Engine) -> None:
        for _ in range(30):
            await anyio.sleep(1)
            pulse = engine.pulse()
            seen.append(pulse.refusal if pulse else "")

    assert bed.run(look) is None
    assert any("limit of pending transcriptions has been exceeded" in text for text in seen)


def test_what_no_list_shows_is_asked_for_less_and_less_often(folder: Path) -> None:
    """Another project of the organisation fills most of it, all night: few refusals, and everything is done."""
    bed = a_bed(folder, *range(1_000, 1_400), siblings=Load(pending=90))
    assert bed.run() is None
    assert bed.wrong() == []
    refused, accepted = bed.rest.tally.quota_refusals, bed.rest.tally.accepted.total()
    assert accepted == 400
    assert refused / (refused + accepted) <= 0.15


def test_a_file_that_somebody_deletes_before_its_transcription_begins_is_sent_again(folder: Path) -> None:
    """The service says file_not_found: nothing was transcribed."""
    bed = a_bed(folder, 1_000)
    bed.core.knobs = replace(bed.core.knobs, queue_ms=60_000)

    def vanish() -> None:
        (file,) = bed.rest.files
        bed.rest.vanish(file.id)

    assert bed.run(at(5, vanish)) is None
    assert bed.wrong() == []
    assert bed.states() == {"done": 1}


def test_a_week_away_changes_nothing(folder: Path) -> None:
    """What is at the service stays there, is found and brought home."""
    bed = a_bed(folder, *range(1_000, 1_010))
    assert bed.run(drain_at(4)) is None
    bed.world.moment += 168 * HOUR
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.rest.tally.accepted.total() == 10


# Another key.


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_key_of_another_account_is_noticed_before_anything_is_taken_for_lost(folder: Path, api: str) -> None:
    """Nothing is sent, nothing failed; with the first key the batch goes on."""
    bed = a_bed(folder, *range(1_000, 1_010))
    bed.api = api
    assert bed.run(drain_at(4)) is None
    before = bed.states()
    bed.key = "of another project"
    stopped = bed.run()
    assert isinstance(stopped, AccountRefused)
    assert "--other-account" in stopped.hint
    assert bed.states() == before
    bed.key = KEY
    assert bed.run() is None
    assert bed.wrong() == []
    assert (bed.rest if api == "rest" else bed.account).tally.accepted.total() == 10


def test_a_new_key_of_the_same_account_is_recognised_by_what_is_listed(folder: Path) -> None:
    """Keys are changed now and then; the objects are the proof."""
    bed = a_bed(folder, *range(1_000, 1_010))
    assert bed.run(drain_at(4)) is None
    bed.core._rest["a new key"] = bed.rest
    bed.key = "a new key"
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.rest.tally.accepted.total() == 10


def test_an_account_that_is_gone_for_good_is_given_up_on_request(folder: Path) -> None:
    """What was accepted there is reported as failed, never sent again by itself."""
    bed = a_bed(folder, *range(1_000, 1_004))
    assert bed.run(drain_at(4)) is None
    assert bed.states()["submitted"] == 4
    bed.key = "another"
    assert bed.run(other_account=True) is None
    assert bed.states() == {"failed": 4}


# Stuck.


def test_a_job_that_takes_too_long_is_stuck_and_only_waited_for(folder: Path) -> None:
    """It is shown, never sent again; when it ends after all it is brought home."""
    bed = a_bed(folder, 1_000)
    bed.core.knobs = replace(bed.core.knobs, min_work_ms=4 * 3_600_000, max_work_ms=4 * 3_600_000)
    stuck: list[object] = []

    def look() -> None:
        stuck.extend(bed.rows("SELECT state, remote_status FROM job WHERE stuck_at IS NOT NULL"))

    assert bed.run(at(HOUR, look), at(3 * HOUR, look)) is None
    assert stuck == [("submitted", "processing")]
    assert bed.wrong() == []
    assert bed.rest.tally.accepted.total() == 1
    assert bed.rows("SELECT stuck_at FROM job") == [(None,)]


def test_a_transcript_that_cannot_be_fetched_is_stuck_and_never_deleted(folder: Path) -> None:
    """The service has it, and it is paid for."""
    bed = a_bed(folder, 1_000)
    bed.trouble = lambda call: Fault(Trouble.REFUSED, "INTERNAL") if call is Call.FETCH else None
    assert bed.run(drain_at(3 * HOUR)) is None
    assert bed.rows("SELECT state FROM job WHERE stuck_at IS NOT NULL") == [("completed",)]
    assert len(bed.rest.jobs) == 1


def test_a_transcript_that_cannot_be_deleted_at_the_service_is_stuck(folder: Path) -> None:
    """It is at home and written, but it takes room there, and the run does not end before it is gone."""
    bed = a_bed(folder, 1_000)
    bed.trouble = lambda call: Fault(Trouble.REFUSED, "INTERNAL") if call is Call.DELETE else None
    assert bed.run(drain_at(3 * HOUR)) is None
    assert bed.rows("SELECT state FROM job WHERE stuck_at IS NOT NULL") == [("stored",)]
    bed.trouble = lambda _call: None
    assert bed.run() is None
    assert bed.rows("SELECT state, stuck_at FROM job") == [("done", None)]


def test_the_reason_of_a_failure_is_kept_while_it_cannot_be_deleted(folder: Path) -> None:
    """The person wants to know why it failed, not why it was still there for a while."""
    bed = a_bed(folder, 1_000, job_errors=(("no_such_type", 1),))
    refusals = [Fault(Trouble.REFUSED, "INTERNAL")] * 3
    bed.trouble = lambda call: refusals.pop() if call is Call.DELETE and refusals else None
    assert bed.run() is None
    ((reason,),) = bed.rows("SELECT reason FROM job WHERE state = 'failed'")
    assert "no_such_type" in str(reason)


def test_hundreds_that_a_lowered_limit_of_bytes_leaves_no_room_for_are_put_aside_at_once(folder: Path) -> None:
    """They were found before; the run that sees it is over in a moment."""
    bed = Bed(folder, *range(2_000, 2_350), api="rest")
    assert bed.run(admit=False) is None
    with bed.open() as table:
        table.execute("UPDATE job SET state = 'waiting'")
    begun = bed.world.moment
    assert bed.run(limits=Limits(100, 2_000, 1_000, 1_000)) is None
    assert bed.states() == {"skipped": 350}
    assert bed.world.moment - begun < 10
