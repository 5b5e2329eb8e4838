"""Whole runs in virtual time: one thing goes wrong at a time, and the promise that it concerns holds."""

import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import anyio
import pytest

from batcher.clock import Dice
from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.knobs import Knobs
from batcher.emulator.tally import Call
from batcher.engine import FULL_DISK_SECONDS, Engine
from batcher.errors import AccountRefused, MachineRefuses
from batcher.model import Limits
from batcher.policy import IDENTICAL_REFUSALS
from batcher.requests import Request
from batcher.service.simulated import Pace
from batcher.stages.context import MISSED_CALLS
from batcher.stages.poll import NEVER_REACHED_SECONDS
from tests.engine_bed import KNOBS, Bed, Companion, Stubborn
from tests.simulation.__main__ import memory

AWAY = Fault(Trouble.REFUSED, "UNAVAILABLE")
HOUR = 3_600.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory for the table, in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


def drain_at(moment: float) -> Companion:
    """Return a companion that asks the run to end."""

    async def companion(engine: Engine) -> None:
        await anyio.sleep_until(moment)
        engine.drain()

    return companion


def at(moment: float, act: Callable[[], object]) -> Companion:
    """Return a companion that does something at a moment."""

    async def companion(_engine: Engine) -> None:
        await anyio.sleep_until(moment)
        act()

    return companion


def test_a_quiet_run_ends_with_everything_done_and_the_next_sends_nothing(folder: Path) -> None:
    """Run again, the same command finds nothing to do."""
    bed = Bed(folder, *range(1_000, 1_010))
    assert bed.run() is None
    assert bed.states() == {"done": 10}
    assert bed.wrong() == []
    before = bed.submissions()
    assert bed.run() is None
    assert bed.submissions() == before == 10


def test_a_missing_output_is_rendered_again_and_nothing_is_sent(folder: Path) -> None:
    """Anything transcribed is never paid for again."""
    bed = Bed(folder, 1_000, 1_001)
    bed.run()
    del bed.world.outputs["001.wav.txt"]
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.submissions() == 2


# The account.


def test_a_bad_key_stops_the_run_at_once_and_fails_nothing(folder: Path) -> None:
    """One message, no storm of calls, every job as it was."""
    bed = Bed(folder, *range(1_000, 1_020))
    bed.account.revoked = True
    stopped = bed.run()
    assert isinstance(stopped, AccountRefused)
    assert stopped.hint
    assert len(bed.calls) <= 3
    assert bed.world.moment < 5
    assert "failed" not in bed.states()


@pytest.mark.parametrize("moment", [3.0, 6.0, 12.0])
def test_a_key_revoked_in_the_middle_costs_nothing(folder: Path, moment: float) -> None:
    """With the key mended the same command finishes, and nothing was paid twice."""
    bed = Bed(folder, *range(1_000, 1_030))

    def revoke() -> None:
        bed.account.revoked = True

    assert isinstance(bed.run(at(moment, revoke), limits=Limits(8, 20)), AccountRefused)
    assert "failed" not in bed.states()
    bed.account.revoked = False
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 30


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("api", ["grpc", "rest"])
def test_a_service_never_reached_stops_the_run_after_two_minutes(folder: Path, api: str, seed: int) -> None:
    """A wrong host is not waited for all night, nor longer than is said; nothing is failed for it."""
    bed = Bed(folder, *range(1_000, 1_005), api=api)
    bed.dice = Dice(seed)
    bed.trouble = lambda _call: AWAY
    stopped = bed.run()
    assert isinstance(stopped, AccountRefused)
    assert NEVER_REACHED_SECONDS <= bed.world.moment <= NEVER_REACHED_SECONDS + 5
    assert bed.states() == {"waiting": 5}
    assert bed.submissions() == 0


def test_a_service_away_for_eight_hours_is_waited_for(folder: Path) -> None:
    """Few calls meanwhile, no job's failures counted, and as soon as it is back all goes on."""
    bed = Bed(folder, *range(1_000, 1_040))
    limits, back = Limits(5, 10), 8 * HOUR
    counted: list[object] = []
    bed.trouble = lambda _call: AWAY if 20 <= anyio.current_time() < back else None
    look = at(back - 1, lambda: counted.extend(bed.rows("SELECT max(failures) FROM job")))
    assert bed.run(look, limits=limits) is None
    assert counted == [(0,)]
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 40
    for hour in range(8):
        calls = [moment for moment, _ in bed.calls if 60 + hour * HOUR <= moment < min(back, 60 + (hour + 1) * HOUR)]
        assert len(calls) <= 70, hour
        assert max(b - a for a, b in pairwise(calls)) <= 61
    assert min(moment for moment, call in bed.calls if moment >= back and call is Call.SUBMIT) <= back + 65
    assert bed.world.moment <= back + 300


def test_not_every_recording_is_tried_on_a_service_that_went_away(folder: Path) -> None:
    """Calls fail at once while the next list is not due yet: after a few in a row that list is waited for."""
    bed = Bed(folder, *range(1_000, 1_300), api="rest")
    went, first_minute = 0.56, 60.0
    bed.trouble = lambda _call: AWAY if went <= anyio.current_time() < HOUR else None
    assert bed.run(upload_concurrency=8) is None
    tried = sum(call is Call.UPLOAD for moment, call in bed.calls if went <= moment < first_minute)
    assert 0 < tried <= MISSED_CALLS + 8
    assert bed.wrong() == []


@pytest.mark.parametrize("api", ["grpc", "rest"])
def test_uploads_that_get_nowhere_are_tried_now_and_then_while_lists_are_answered(folder: Path, api: str) -> None:
    """Something on the way keeps them off, for hours: one is tried a listing, and all go when one gets there."""
    bed = Bed(folder, *range(1_000, 1_040), api=api)
    sending = (Call.UPLOAD, Call.SUBMIT)
    bed.trouble = lambda call: AWAY if call in sending and anyio.current_time() < HOUR else None
    assert bed.run() is None
    tried = [moment for moment, call in bed.calls if call in sending]
    assert sum(moment < HOUR for moment in tried) <= MISSED_CALLS + 16 + HOUR / 20
    assert len([moment for moment in tried if HOUR <= moment < HOUR + 60]) >= 40
    assert sum(call is Call.SURVEY for moment, call in bed.calls if moment < HOUR) <= 2 * HOUR / 20 + 30
    assert bed.wrong() == []


def test_not_everything_is_fetched_in_vain_from_a_service_that_went_away(folder: Path) -> None:
    """It went just after a list had shown that many were completed."""
    bed = Bed(folder, *range(1_000, 1_150), api="rest")
    went, first_minute = 9.25, 60.0
    bed.trouble = lambda _call: AWAY if went <= anyio.current_time() < HOUR else None
    told: list[bool] = []

    async def look(engine: Engine) -> None:
        for moment in (went, 30.0):
            await anyio.sleep(moment - anyio.current_time())
            pulse = engine.pulse()
            told.append(pulse is not None and pulse.in_vain)

    assert bed.run(look, collect_concurrency=16) is None
    assert told == [False, True]
    collecting = (Call.FETCH, Call.DELETE, Call.DELETE_FILE)
    tried = sum(call in collecting for moment, call in bed.calls if went <= moment < first_minute)
    assert 0 < tried <= MISSED_CALLS + 16
    assert bed.wrong() == []


def test_what_could_not_be_fetched_for_a_while_is_fetched_though_lists_fail(folder: Path) -> None:
    """A list that fails with an error of the service's own tells that it is there."""
    bed = Bed(folder, *range(1_000, 1_060))

    def trouble(call: Call) -> Fault | None:
        moment = anyio.current_time()
        if call is Call.SURVEY and 12 <= moment < HOUR:
            return Fault(Trouble.REFUSED, "INTERNAL")
        return AWAY if call is Call.FETCH and moment < 120 else None

    bed.trouble = trouble
    seen: list[object] = []
    assert bed.run(*(at(moment, lambda: seen.append(bed.states())) for moment in (100, 900))) is None
    assert seen == [{"completed": 60}, {"done": 60}]
    assert bed.wrong() == []


def test_twenty_identical_refusals_stop_the_batch(folder: Path) -> None:
    """A wrong model does not fail ten thousand recordings; with the model mended the rest goes through."""
    bed = Bed(folder, *range(1_000, 1_080), knobs=Knobs(models=frozenset({"another"})))
    stopped = bed.run(upload_concurrency=4)
    assert isinstance(stopped, AccountRefused)
    assert "model" in str(stopped)
    failed = bed.states()["failed"]
    assert IDENTICAL_REFUSALS <= failed < IDENTICAL_REFUSALS + 4
    assert bed.states() == {"failed": failed, "waiting": 80 - failed}


def test_refusals_of_some_do_not_stop_the_others(folder: Path) -> None:
    """Each bad recording fails for itself."""
    bed = Bed(folder, *range(1_000, 1_010))

    def trouble(call: Call) -> Fault | None:
        refused = call is Call.SUBMIT and bed.submissions() % 2 == 0
        return Fault(Trouble.REFUSED, "INVALID_ARGUMENT") if refused else None

    bed.trouble = trouble
    assert bed.run() is None
    assert bed.states() == {"done": 5, "failed": 5}
    assert bed.rows("SELECT DISTINCT cause FROM job WHERE state = 'failed'") == [("refused",)]


def test_foreign_files_that_fill_the_account_are_waited_for(folder: Path) -> None:
    """Never refused, and finished when they go."""
    bed = Bed(folder, *range(1_000, 1_030))
    others = bed.account.add_foreign(100)

    def leave() -> None:
        for number in others:
            bed.account.finish(number)
            bed.account.vanish(number)

    assert bed.run(at(HOUR, leave)) is None
    assert bed.submissions(after=0) == 30
    assert bed.calls[0][1] is Call.SURVEY
    assert bed.submissions(after=HOUR) == 30
    assert bed.account.tally.quota_refusals == 0
    assert bed.wrong() == []


def test_neighbours_who_take_turns_are_never_met(folder: Path) -> None:
    """Their files come and go all the time; ours stay below what is left, and finish."""
    bed = Bed(folder, *range(1_000, 1_060))
    bed.account.limits = Limits(20, 60)
    chance = Random(3)

    async def neighbour(_engine: Engine) -> None:
        while True:
            bed.account.add_foreign(chance.randrange(1, 3), work_ms=20_000)
            await anyio.sleep(4)

    assert bed.run(neighbour, limits=Limits(20, 2_000)) is None
    assert bed.states() == {"done": 60}
    assert bed.account.tally.pending_peak <= 20


def test_lowered_limits_hold_at_the_service(folder: Path) -> None:
    """What is there may end; nothing is sent before its number is below the new limit, and so it stays."""
    bed = Bed(
        folder, *range(1_000, 1_080), knobs=Knobs(queue_ms=1_000, min_work_ms=9_000, max_work_ms=40_000, speed=0.001)
    )
    seen: list[tuple[float, int]] = []

    async def lower(engine: Engine) -> None:
        await anyio.sleep_until(15)
        engine.set_limits(Limits(5, 2_000))

    async def watch(_engine: Engine) -> None:
        while True:
            seen.append((anyio.current_time(), bed.account.pending))
            await anyio.sleep(0.5)

    assert bed.run(lower, watch, limits=Limits(30, 2_000)) is None
    before = [pending for moment, pending in seen if moment < 15]
    below = next(index for index, (moment, pending) in enumerate(seen) if moment >= 16 and pending <= 5)
    assert max(before) == 30
    assert max(pending for _, pending in seen[below:]) == 5
    assert bed.wrong() == []


def test_raised_limits_are_used(folder: Path) -> None:
    """And at once."""
    bed = Bed(folder, *range(1_000, 1_040), knobs=Knobs(queue_ms=1_000, min_work_ms=60_000, max_work_ms=60_000))

    async def raise_limits(engine: Engine) -> None:
        await anyio.sleep_until(10)
        assert bed.account.pending == 3
        engine.set_limits(Limits(30, 2_000))
        await anyio.sleep_until(20)
        assert bed.account.pending == 30

    assert bed.run(raise_limits, limits=Limits(3, 2_000)) is None


# Ending.


SLOW = Pace(bytes_per_second=10_000)


def test_a_drain_ends_unsealed_uploads_and_awaits_sealed_ones(folder: Path) -> None:
    """What costs nothing is dropped, what may be billed is heard out; the next run sends only the rest."""
    bed = Bed(folder, 1_000, 80_000, *range(400_000, 400_004), pace=SLOW)  # the second would be sealed at 8
    bed.trouble = lambda call: Fault(Trouble.DELAYED, ms=10_000) if call is Call.SUBMIT else None
    assert bed.run(drain_at(5)) is None
    assert 10 <= bed.world.moment <= 15
    assert bed.states() == {"submitted": 1, "waiting": 5}
    assert bed.events("001.wav") == ["admitted", "claimed", "interrupted"]
    assert bed.rows("SELECT max(failures) FROM job") == [(0,)]
    assert [file.audio.size for file in bed.account.files] == [1_000]
    bed.trouble = lambda _call: None
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 6


def test_a_drain_does_not_wait_for_ever(folder: Path) -> None:
    """A sealed upload without an answer is left uncertain; the next run finds it by its reference."""
    bed = Bed(folder, 1_000)
    bed.trouble = lambda call: Fault(Trouble.DELAYED, ms=300_000) if call is Call.SUBMIT else None
    assert bed.run(drain_at(5)) is None
    assert 34 <= bed.world.moment <= 36
    assert bed.states() == {"uncertain": 1}
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 1


def test_a_drain_during_the_scan_ends_at_once(folder: Path) -> None:
    """Whatever was found is found; nothing is sent."""
    bed = Bed(folder, *range(1_000, 1_050))
    bed.disk.scan_seconds = 50
    assert bed.run(drain_at(10)) is None
    assert bed.world.moment <= 11
    assert bed.submissions() == 0
    bed.disk.scan_seconds = 0
    assert bed.run() is None
    assert bed.wrong() == []


def test_a_drain_before_the_start_is_not_lost(folder: Path) -> None:
    """The first Ctrl-C may come while everything is opened."""
    bed = Bed(folder, 1_000)

    async def at_once(engine: Engine) -> None:
        engine.drain()

    assert bed.run(at_once) is None
    assert bed.world.moment < 2
    assert bed.submissions() == 0


# This machine.


def test_a_disk_that_stays_full_ends_the_run_with_nothing_lost(folder: Path) -> None:
    """Ten minutes of hope, nothing new is sent meanwhile; with space the same command finishes."""
    bed = Bed(folder, *range(1_000, 1_030))
    bed.disk.free = lambda: 0 if anyio.current_time() >= 5 else 10**12
    stopped = bed.run(limits=Limits(4, 8))
    assert isinstance(stopped, MachineRefuses)
    assert 5 + FULL_DISK_SECONDS <= bed.world.moment <= FULL_DISK_SECONDS + 25
    assert bed.submissions(after=16) == 0
    assert not {"failed", "failing"} & bed.states().keys()
    bed.disk.free = lambda: 10**12
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 30


def test_a_disk_with_space_again_goes_on(folder: Path) -> None:
    """Short of ten minutes nothing ends, and as soon as there is space uploads begin."""
    bed = Bed(folder, *range(1_000, 1_010))
    bed.disk.free = lambda: 0 if anyio.current_time() < 500 else 10**12
    assert bed.run() is None
    assert bed.submissions() == 10
    assert 500 <= min(moment for moment, call in bed.calls if call is Call.SUBMIT) <= 511
    assert bed.wrong() == []


def test_a_disk_that_is_full_from_time_to_time_is_not_given_up(folder: Path) -> None:
    """Only ten minutes in a row count."""
    bed = Bed(folder, *range(1_000, 1_012))
    bed.disk.free = lambda: 0 if anyio.current_time() % 400 < 380 else 10**12
    assert bed.run(limits=Limits(1, 2_000)) is None
    assert bed.world.moment > 2 * FULL_DISK_SECONDS
    assert bed.wrong() == []


def test_outputs_that_cannot_be_written_are_written_later(folder: Path) -> None:
    """The transcript is safe in the table, the remote copy stays until the files are there."""
    bed = Bed(folder, 1_000, 1_001)

    def full(verb: str, _path: bytes) -> None:
        if verb == "write" and anyio.current_time() < 100:
            raise MachineRefuses("no space left")

    bed.disk.before = full
    held: list[int] = []
    assert bed.run(at(90, lambda: held.append(bed.account.stored))) is None
    assert held == [2]
    assert bed.wrong() == []


# Mistakes of our own.


@pytest.mark.parametrize("verb", ["examine", "open", "write"])
def test_an_unforeseen_error_puts_its_job_back_and_the_others_go_on(folder: Path, verb: str) -> None:
    """Once or a few times: in the end everything is done, and paid once."""
    bed = Bed(folder, *range(1_000, 1_010))
    left = {verb: 3}

    def crash(what: str, path: bytes) -> None:
        if path == b"/in/003.wav" and left.get(what, 0) > 0:
            left[what] -= 1
            raise ValueError("nobody thought of this")

    bed.disk.before = crash
    assert bed.run() is None
    assert left == {verb: 0}
    assert bed.states() == {"done": 10}
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 10


def test_an_unforeseen_error_after_the_seal_is_looked_up_first(folder: Path) -> None:
    """The service may have it: it is adopted, not sent again."""
    bed = Bed(folder, *range(1_000, 1_005))
    left = [1]

    def crash(what: str, path: bytes) -> None:
        if what == "close" and path == b"/in/003.wav" and left:
            left.pop()
            raise ValueError("nobody thought of this")

    bed.disk.before = crash
    assert bed.run() is None
    assert "answer_lost" in bed.events("003.wav")
    assert "adopted" in bed.events("003.wav")
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 5


def test_a_job_that_always_breaks_does_not_hold_the_others(folder: Path) -> None:
    """They are done, and it fails after so many tries. An error's words may hold the key: the table has its type only."""
    bed = Bed(folder, *range(1_000, 1_010))

    def crash(what: str, path: bytes) -> None:
        if what == "examine" and path == b"/in/003.wav":
            raise ValueError("nobody thought of the key")

    bed.disk.before = crash
    assert bed.run() is None
    assert bed.states() == {"done": 9, "failed": 1}
    ((reason, cause),) = bed.rows("SELECT reason, cause FROM job WHERE state = 'failed'")
    assert reason == "batcher itself failed: ValueError (log.jsonl tells more)"
    assert cause == "internal"
    ((told,),) = bed.rows("SELECT count(*) FROM history WHERE detail LIKE '%the key%'")
    assert told == 0


def test_an_upload_that_always_breaks_backs_off_and_fails_in_the_end(folder: Path) -> None:
    """An error that nobody foresaw is tried a few times, with pauses, and never in a hot loop."""
    bed = Bed(folder, *range(1_000, 1_010))

    def crash(what: str, path: bytes) -> None:
        if what == "open" and path == b"/in/003.wav":
            raise ValueError("nobody thought of this")

    bed.disk.before = crash
    assert bed.run() is None
    assert bed.states() == {"done": 9, "failed": 1}
    assert bed.events("003.wav").count("claimed") <= bed.plan.max_failures
    assert bed.events("003.wav")[-1] == "rejected"


def test_audio_that_was_transcribed_before_its_recording_changed_is_not_paid_twice(folder: Path) -> None:
    """Nobody has its size any more, so it is admitted unread; at the seal its content is known."""
    bed = Bed(folder)
    first = bed.add("a.wav", 1_000)
    assert bed.run() is None
    bed.change("a.wav", Random(7).randbytes(2_000))
    assert bed.run() is None
    bed.add("b.wav", content=first)
    assert bed.run() is None
    assert bed.states() == {"done": 2}
    assert bed.account.tally.accepted.total() == 2


def test_a_damaged_transcript_in_the_table_fails_its_job_only(folder: Path) -> None:
    """One bad row is one bad recording; the others are rendered."""
    bed = Bed(folder, 1_000, 1_001, 1_002)
    bed.run()
    with bed.open() as conn:
        conn.execute("UPDATE transcript SET body = x'00' WHERE id = 2")
    bed.world.outputs.clear()
    assert bed.run() is None
    assert bed.states() == {"done": 2, "failed": 1}
    assert len(bed.wrong()) == 1


# Recordings.


def test_a_recording_that_changes_while_it_is_read_is_sent_again(folder: Path) -> None:
    """Its transcript is that of the new content; of the old nothing was accepted."""
    bed = Bed(folder, 400_000, 400_001, pace=SLOW)
    new = Random(9).randbytes(30_000)
    assert bed.run(at(10, lambda: bed.change("001.wav", new))) is None
    assert bed.wrong() == []
    assert "source_changed" in bed.events("001.wav")
    assert bed.account.tally.accepted.total() == 2


def test_a_recording_that_never_stops_changing_fails(folder: Path) -> None:
    """It is not followed all night, and nothing of it was accepted."""
    bed = Bed(folder, 1_000, 1_001)
    chance = Random(5)

    def change(what: str, path: bytes) -> None:
        if what == "open" and path == b"/in/001.wav":
            bed.change("001.wav", chance.randbytes(2_000))

    bed.disk.before = change
    assert bed.run(max_failures=4) is None
    assert bed.state("000.wav") == "done"
    assert bed.rows("SELECT state, cause, failures FROM job WHERE id = 2")[0][:2] == ("failed", "source")
    assert bed.events("001.wav").count("claimed") == 4
    assert bed.account.tally.accepted.total() == 1


def test_a_recording_that_changes_under_way_is_done_in_both_versions(folder: Path) -> None:
    """The old one is brought home first; the run does not end before the new one is there too."""
    bed = Bed(folder, *range(1_000, 1_003), knobs=Knobs(queue_ms=1_000, min_work_ms=90_000, max_work_ms=90_000))
    bed.run(drain_at(10))
    assert bed.states() == {"submitted": 3}
    bed.change("001.wav", Random(9).randbytes(500))
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 4


def test_the_run_does_not_end_while_a_scan_looks_for_changed_recordings(folder: Path) -> None:
    """A long second scan is not overtaken by a look at the service that finds nothing left to do."""
    bed = Bed(folder, 1_000, knobs=KNOBS)
    bed.run(drain_at(4))
    assert bed.states() == {"submitted": 1}
    new = Random(9).randbytes(500)
    bed.change("000.wav", new)
    bed.disk.scan_seconds = 40
    bed.trouble = lambda call: AWAY if call is Call.FETCH and anyio.current_time() < 60 else None
    assert bed.run() is None
    assert bed.wrong() == []


def test_one_audio_under_two_names_is_sent_once(folder: Path) -> None:
    """Both names get the transcript."""
    bed = Bed(folder)
    content = bed.add("a.wav", 5_000)
    bed.add("b.wav", content=content)
    assert bed.run() is None
    assert bed.states() == {"done": 2}
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 1


def test_a_verdict_of_the_service_holds_for_every_name_of_the_audio(folder: Path) -> None:
    """The twin fails with its carrier and is not paid for."""
    content = b"hum" * 1_000
    bed = Bed(folder, recognizer=Stubborn("no speech found", 9, content))
    bed.add("a.wav", content=content)
    bed.add("b.wav", content=content)
    assert bed.run() is None
    assert bed.states() == {"failed": 2}
    assert bed.rows("SELECT DISTINCT cause, reason FROM job") == [("service", "no speech found")]
    assert bed.account.tally.accepted.total() == 1
    assert bed.account.files == []


def test_a_twin_of_a_cancelled_job_is_sent_by_itself(folder: Path) -> None:
    """Giving up one name keeps the other."""
    bed = Bed(folder, pace=SLOW)
    content = bed.add("a.wav", 300_000)
    bed.add("b.wav", content=content)

    def cancel() -> None:
        assert bed.states() == {"uploading": 1, "twin": 1}
        bed.disk.leave(Request("cancel", [1]))

    assert bed.run(at(10, cancel)) is None
    assert bed.state("a.wav") == "cancelled"
    assert bed.state("b.wav") == "done"
    assert bed.account.files == []


# The service.


@pytest.mark.parametrize(("times", "state"), [(1, "done"), (2, "failed")])
def test_an_internal_error_of_the_service_is_forgiven_once(folder: Path, times: int, state: str) -> None:
    """The second time a person decides, because every try may be billed."""
    content = b"hum" * 1_000
    bed = Bed(folder, recognizer=Stubborn("Internal error", times, content))
    bed.add("a.wav", content=content)
    assert bed.run() is None
    assert bed.states() == {state: 1}
    assert bed.account.tally.accepted.total() == 2
    assert bed.account.files == []


def test_what_is_given_up_before_it_is_forgiven_is_not_sent_again(folder: Path) -> None:
    """It was failed by the service, which does not let go of it yet; meanwhile somebody cancels it."""
    content = b"hum" * 1_000
    bed = Bed(folder, recognizer=Stubborn("Internal error", 1, content))
    bed.add("a.wav", content=content)
    away = Fault(Trouble.REFUSED, "UNAVAILABLE")
    bed.trouble = lambda call: away if call is Call.DELETE and anyio.current_time() < 120 else None

    def cancel() -> None:
        assert bed.states() == {"failing": 1}
        bed.disk.leave(Request("cancel", [1]))

    assert bed.run(at(60, cancel)) is None
    assert bed.states() == {"cancelled": 1}
    assert bed.account.tally.accepted.total() == 1
    assert bed.account.files == []


def test_any_other_failure_is_not_tried_again(folder: Path) -> None:
    """It is cleared away and reported."""
    content = b"hum" * 1_000
    bed = Bed(folder, recognizer=Stubborn("The audio is too short", 1, content))
    bed.add("a.wav", content=content)
    assert bed.run() is None
    assert bed.states() == {"failed": 1}
    assert bed.account.tally.accepted.total() == 1
    assert bed.account.files == []


def test_a_lost_answer_is_adopted_and_paid_once(folder: Path) -> None:
    """Looked up by its reference at the next listing."""
    bed = Bed(folder, *range(1_000, 1_010))
    bed.trouble = lambda call: Fault(Trouble.LOST_AFTER) if call is Call.SUBMIT else None
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 10
    assert bed.world.moment < 120


def test_an_upload_that_never_arrived_is_sent_again_after_the_proof(folder: Path) -> None:
    """A quarter of an hour and two lists later, not before."""
    bed = Bed(folder, 1_000)
    lost = [Fault(Trouble.LOST_BEFORE)]
    bed.trouble = lambda call: lost.pop() if call is Call.SUBMIT and lost else None
    assert bed.run() is None
    first, second = (moment for moment, call in bed.calls if call is Call.SUBMIT)
    assert 960 <= second - first <= 1_100
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 1


def test_a_file_that_somebody_removed_at_the_service_is_not_sent_again(folder: Path) -> None:
    """It may be billed again, so a person decides."""
    bed = Bed(folder, 1_000, 1_001, knobs=Knobs(queue_ms=1_000, min_work_ms=60_000, max_work_ms=60_000))

    def vanish() -> None:
        bed.account.vanish(bed.account.files[0].id)

    assert bed.run(at(20, vanish)) is None
    assert bed.states() == {"done": 1, "failed": 1}
    assert bed.rows("SELECT cause FROM job WHERE state = 'failed'") == [("vanished",)]
    assert bed.account.tally.accepted.total() == 2


def test_a_quota_refusal_makes_us_smaller_and_costs_nothing(folder: Path) -> None:
    """The account's real limit may be below what we were told; still everything finishes, without a storm."""
    bed = Bed(folder, *range(1_000, 1_040))
    bed.account.limits = Limits(6, 2_000)
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 40
    assert bed.rows("SELECT max(failures) FROM job") == [(0,)]


def test_a_quota_refusal_is_not_answered_by_a_storm(folder: Path) -> None:
    """What is refused now is refused in a second too: on average at most two refusals a recording."""
    bed = Bed(folder, *range(1_000, 1_040))
    bed.account.limits = Limits(6, 2_000)
    assert bed.run() is None
    assert bed.account.tally.quota_refusals <= 80


def test_a_recording_whose_upload_always_breaks_the_service_fails_in_the_end(folder: Path) -> None:
    """Nothing of it is ever accepted; after so many tries it is given up, and the batch ends."""
    bed = Bed(folder, *range(1_000, 1_003))

    def trouble(call: Call) -> Fault | None:
        poisonous = call is Call.SUBMIT and bool(bed.rows("SELECT 1 FROM job WHERE id = 2 AND state = 'uploading'"))
        return Fault(Trouble.LOST_BEFORE, "INTERNAL") if poisonous else None

    bed.trouble = trouble
    assert bed.run(drain_at(3 * HOUR), max_failures=3, upload_concurrency=1) is None
    assert bed.states() == {"done": 2, "failed": 1}


@pytest.mark.parametrize(
    ("code", "counted"),
    [("UNAVAILABLE", False), ("DEADLINE_EXCEEDED", False), ("RESOURCE_EXHAUSTED", False), ("INTERNAL", True)],
)
def test_only_trouble_with_the_job_itself_counts_against_it(folder: Path, code: str, counted: bool) -> None:
    """A service that is away or full is nobody's fault, however long; an odd error may be this recording's."""
    bed = Bed(folder, 1_000, 1_001)
    seen: list[object] = []

    def trouble(call: Call) -> Fault | None:
        return Fault(Trouble.REFUSED, code) if call is Call.SUBMIT and anyio.current_time() < 200 else None

    bed.trouble = trouble
    assert bed.run(at(190, lambda: seen.extend(bed.rows("SELECT min(failures), max(failures) FROM job")))) is None
    assert bed.submissions() > 4
    assert (seen != [(0, 0)]) is counted
    assert bed.wrong() == []


def test_a_recording_that_always_meets_trouble_fails_while_others_go_through(folder: Path) -> None:
    """So many tries of one job, and no more; before the seal nothing of it can have been accepted."""
    bed = Bed(folder, *range(1_000, 1_003))

    def trouble(call: Call) -> Fault | None:
        poisonous = call is Call.SUBMIT and bool(bed.rows("SELECT 1 FROM job WHERE id = 2 AND state = 'uploading'"))
        return Fault(Trouble.REFUSED, "INTERNAL") if poisonous else None

    bed.trouble = trouble
    assert bed.run(max_failures=3, upload_concurrency=1) is None
    assert bed.states() == {"done": 2, "failed": 1}
    assert bed.events("001.wav").count("claimed") == 3
    assert bed.rows("SELECT cause FROM job WHERE id = 2") == [("service",)]


def test_a_service_that_fails_some_calls_for_an_hour_loses_nothing(folder: Path) -> None:
    """Failed listings tell nothing about any job."""
    bed = Bed(folder, *range(1_000, 1_010))

    def trouble(call: Call) -> Fault | None:
        failing = call in (Call.SURVEY, Call.FETCH) and 8 <= anyio.current_time() < HOUR
        return Fault(Trouble.REFUSED, "INTERNAL") if failing else None

    bed.trouble = trouble
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.account.tally.accepted.total() == 10


# Runs that only bring home what is there.


def test_a_run_that_admits_nothing_collects_and_clears_only(folder: Path) -> None:
    """What is done at the service comes home; what waits keeps waiting; what is at work stays there."""
    bed = Bed(folder, *range(1_000, 1_010))
    bed.run(drain_at(3), limits=Limits(4, 2_000))
    assert bed.states() == {"submitted": 4, "waiting": 6}
    bed.world.moment += 100
    before = bed.submissions()
    assert bed.run(admit=False, scan=False) is None
    assert bed.states() == {"done": 4, "waiting": 6}
    assert bed.submissions() == before
    assert bed.account.files == []


def test_a_run_that_admits_nothing_does_not_wait_for_work_under_way(folder: Path) -> None:
    """It ends when nothing can be brought home now."""
    bed = Bed(folder, 1_000, knobs=Knobs(queue_ms=1_000, min_work_ms=10**7, max_work_ms=10**7))
    bed.run(drain_at(3))
    assert bed.run(admit=False, scan=False) is None
    assert bed.states() == {"submitted": 1}
    assert bed.world.moment < 15


@pytest.mark.parametrize("point", ["accepted", "after-seal"])
def test_a_run_that_admits_nothing_adopts_what_an_earlier_one_left(folder: Path, point: str) -> None:
    """Killed when the answer was there or just before: what the service has is found and brought home."""
    bed = Bed(folder, 1_000, 1_001)
    bed.run(kill=point)
    bed.world.moment += 60
    there = len(bed.account.files)
    assert bed.run(admit=False, scan=False) is None
    assert bed.states()["done"] == there
    assert bed.account.files == []


# Requests.


def test_requests_are_heeded_while_a_run_works(folder: Path) -> None:
    """Cancelled jobs are cleared away as soon as the service lets them go; a retried one is done again."""
    content = b"hum" * 1_000
    bed = Bed(folder, *range(1_000, 1_005), recognizer=Stubborn("too short", 1, content))
    bed.add("005.wav", content=content)
    bed.add("long.wav", 12_000_000)

    def ask() -> None:
        bed.disk.leave(Request("cancel", [1, 2]), Request("cancel", [99]))

    def again() -> None:
        assert bed.state("005.wav") == "failed"
        bed.disk.leave(Request("retry", [6]))

    assert bed.run(at(4, ask), at(10, again)) is None
    assert bed.state("000.wav") == bed.state("001.wav") == "cancelled"
    assert bed.state("005.wav") == "done"
    assert bed.account.files == []


def test_a_recording_that_changed_without_a_trace_is_compared_anew(folder: Path) -> None:
    """Same size, same time, other content since it was examined: never kept under the content that was examined."""
    bed = Bed(folder, 1_000, 1_000)
    other = Random("other").randbytes(1_000)

    def change(verb: str, path: bytes) -> None:
        if verb == "open":
            bed.world.files[path].content = other if path.endswith(b"001.wav") else bed.world.files[path].content

    bed.disk.before = change
    assert bed.run() is None
    assert bed.wrong() == []
    assert "source_changed" in bed.events("001.wav")
