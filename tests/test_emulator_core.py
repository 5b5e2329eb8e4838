"""The emulator's core: states by the clock, quotas, knobs, what an operator may do, and what it counts."""

import json

import pytest

from batcher.emulator.account import Account
from batcher.emulator.core import Core
from batcher.emulator.knobs import NoEof, Order, UnknownId
from batcher.emulator.objects import Config, Failure, File, Refusal
from batcher.emulator.recognizers import echo
from batcher.model import Limits, RemoteStatus
from tests.emulator_tools import HandClock, Tape, new_core, send


@pytest.fixture
def clock() -> HandClock:
    """Return a clock that the test moves."""
    return HandClock()


@pytest.fixture
def core(clock: HandClock) -> Core:
    """Return a core with default knobs."""
    return new_core(clock)


def code_of(refusal: pytest.ExceptionInfo[Refusal]) -> str:
    """Return the code of a refusal that was caught."""
    return refusal.value.code


def statuses(account: Account) -> list[RemoteStatus]:
    """Return the statuses in the list, oldest first."""
    return [seen.status for seen in reversed(account.survey())]


def test_a_file_is_queued_then_transcribed_then_completed(core: Core, clock: HandClock) -> None:
    """The clock alone moves a file, and a default job takes under two seconds."""
    account = core.account("key")
    send(core)
    assert statuses(account) == [RemoteStatus.QUEUED]
    clock.pass_ms(200)
    assert statuses(account) == [RemoteStatus.PROCESSING]
    clock.pass_ms(1500)
    assert statuses(account) == [RemoteStatus.COMPLETED]


def test_a_long_recording_takes_longer(clock: HandClock) -> None:
    """The length of the transcription follows size and speed, within its bounds."""
    core = new_core(clock, bytes_per_second=1000, speed=10, min_work_ms=100, max_work_ms=5000, queue_ms=0)
    short, long, longest = (send(core, content=bytes(size)) for size in (1, 20_000, 10_000_000))
    assert (short.work_ms, long.work_ms, longest.work_ms) == (100, 2000, 5000)


def test_the_words_are_those_of_the_digest(core: Core, clock: HandClock) -> None:
    """A fetch returns the echo of the recording that was sent."""
    file = send(core, content=b"some recording")
    clock.pass_ms(2000)
    _, transcript = core.account("key").fetch(file.id)
    assert transcript == echo(Tape(b"some recording").digest)


def test_a_result_is_refused_before_the_file_is_completed(core: Core) -> None:
    """Fetching too early is FAILED_PRECONDITION."""
    file = send(core)
    with pytest.raises(Refusal) as refusal:
        core.account("key").fetch(file.id)
    assert code_of(refusal) == "FAILED_PRECONDITION"


def test_delete_is_refused_while_transcribing_only(core: Core, clock: HandClock) -> None:
    """Queued and completed files can be deleted, those at work cannot."""
    account = core.account("key")
    account.delete(send(core).id)
    file = send(core)
    clock.pass_ms(200)
    with pytest.raises(Refusal) as refusal:
        account.delete(file.id)
    assert code_of(refusal) == "FAILED_PRECONDITION"
    clock.pass_ms(2000)
    account.delete(file.id)
    assert account.files == []


def test_delete_while_transcribing_is_a_knob(clock: HandClock) -> None:
    """With the knob a file at work can be deleted, and its place is free again."""
    core = new_core(clock, delete_while_transcribing=True, parallel=1, queue_ms=0, min_work_ms=1000)
    first, second = send(core), send(core)
    account = core.account("key")
    assert statuses(account) == [RemoteStatus.PROCESSING, RemoteStatus.QUEUED]
    account.delete(first.id)
    assert statuses(account) == [RemoteStatus.PROCESSING]
    assert second.started == clock.now()


def test_an_unknown_file_is_not_found(core: Core) -> None:
    """Fetch, delete and status of an unknown id are NOT_FOUND."""
    account = core.account("key")
    for verb in (account.fetch, account.delete, account.status):
        with pytest.raises(Refusal) as refusal:
            verb("1")
        assert code_of(refusal) == "NOT_FOUND"


def test_the_status_of_an_unknown_file_may_be_an_empty_list(clock: HandClock) -> None:
    """The other reading of the documentation is a knob."""
    core = new_core(clock, unknown_id=UnknownId.EMPTY)
    assert core.account("key").status("1") == []


def test_parallel_places_are_given_in_order(clock: HandClock) -> None:
    """With two places the third file starts when the first one ends, not before."""
    core = new_core(clock, parallel=2, queue_ms=0, min_work_ms=1000, max_work_ms=1000)
    files = [send(core, str(number)) for number in range(5)]
    clock.pass_ms(10_000)
    core.account("key").advance()
    begin = files[0].created
    assert [file.started - begin for file in files if file.started is not None] == [0, 0, 1000, 1000, 2000]


def test_a_clock_that_steps_back_moves_nothing_back(core: Core, clock: HandClock) -> None:
    """A file that was completed stays completed."""
    send(core)
    clock.pass_ms(3000)
    account = core.account("key")
    assert statuses(account) == [RemoteStatus.COMPLETED]
    clock.pass_ms(-3000)
    assert statuses(account) == [RemoteStatus.COMPLETED]


@pytest.mark.parametrize("after", [False, True])
def test_the_limit_of_pending_files_holds(clock: HandClock, after: bool) -> None:
    """The upload too many is refused, before or after its bytes, and leaves nothing."""
    core = new_core(clock, pending=3, refuse_after_bytes=after)
    for number in range(3):
        send(core, str(number))
    account = core.account("key")
    with pytest.raises(Refusal) as refusal:
        send(core, "too many")
    assert code_of(refusal) == "RESOURCE_EXHAUSTED"
    assert account.stored == 3
    assert account.tally.quota_refusals == 1
    assert [entry for entry in account.tally.trace if entry[1] == "too many"] == [
        ("submit", "too many", "RESOURCE_EXHAUSTED")
    ]
    clock.pass_ms(5000)
    send(core, "room again")
    assert account.tally.pending_peak == 3


def test_a_full_account_may_say_so_before_or_after_the_bytes(clock: HandClock) -> None:
    """By default the door is closed; with the knob only the end of the upload tells."""
    with pytest.raises(Refusal):
        new_core(clock, pending=0).account("key").upload("r", Config())
    with new_core(clock, pending=0, refuse_after_bytes=True).account("key").upload("r", Config()) as upload:
        upload.add(b"audio")
        with pytest.raises(Refusal):
            upload.accept()


def test_the_limit_of_stored_files_counts_completed_ones(clock: HandClock) -> None:
    """Files that were not deleted occupy the account, whatever became of them."""
    core = new_core(clock, stored=2)
    send(core)
    file = send(core)
    clock.pass_ms(5000)
    with pytest.raises(Refusal) as refusal:
        send(core)
    assert code_of(refusal) == "RESOURCE_EXHAUSTED"
    core.account("key").delete(file.id)
    send(core)
    assert core.account("key").tally.stored_peak == 2


def test_room_that_vanishes_during_an_upload_refuses_it(clock: HandClock) -> None:
    """The place is taken at the end of an upload: who comes second is refused even though both were admitted."""
    core = new_core(clock, pending=1)
    account = core.account("key")
    with account.upload("first", Config()) as first, account.upload("second", Config()) as second:
        first.accept()
        with pytest.raises(Refusal) as refusal:
            second.accept()
    assert code_of(refusal) == "RESOURCE_EXHAUSTED"
    assert account.tally.pending_peak == 1


def test_limits_may_be_changed_while_it_runs(core: Core) -> None:
    """A lowered limit refuses what a raised one accepts."""
    account = core.account("key")
    account.limits = Limits(pending=0)
    with pytest.raises(Refusal):
        send(core)
    account.limits = Limits(pending=1)
    send(core)


def test_foreign_files_take_room_and_come_and_go(core: Core, clock: HandClock) -> None:
    """Other clients' files count, are listed with their own reference, and end when they are told to."""
    account = core.account("key")
    ids = account.add_foreign(60)
    clock.pass_ms(100_000)
    assert (account.pending, account.stored) == (60, 60)
    assert len(account.add_foreign(60)) == 40, "the limits hold for other clients too"
    assert len(account.add_foreign(1, force=True)) == 1
    account.finish(ids[0])
    account.finish(ids[1], Failure("no"))
    account.vanish(ids[2])
    assert (account.pending, account.stored) == (98, 100)
    assert {seen.reference for seen in account.survey()} == {"other client"}


def test_foreign_files_may_end_by_themselves(core: Core, clock: HandClock) -> None:
    """With a length they are completed like any other."""
    account = core.account("key")
    account.add_foreign(2, work_ms=1000)
    clock.pass_ms(1200)
    assert statuses(account) == [RemoteStatus.COMPLETED] * 2


def test_a_revoked_key_and_an_empty_one_are_unauthenticated(core: Core) -> None:
    """Neither may do anything, until the key is good again."""
    core.account("key").revoked = True
    for key in ("", "key"):
        with pytest.raises(Refusal) as refusal:
            core.enter(key)
        assert code_of(refusal) == "UNAUTHENTICATED"
    core.account("key").revoked = False
    assert core.enter("key") is core.account("key")


def test_an_exhausted_balance_refuses_uploads_only(core: Core, clock: HandClock) -> None:
    """Finished work may still be fetched and deleted."""
    file = send(core)
    clock.pass_ms(5000)
    account = core.account("key")
    account.balance_exhausted = True
    with pytest.raises(Refusal) as refusal:
        send(core)
    assert code_of(refusal) == "PERMISSION_DENIED"
    account.fetch(file.id)
    account.delete(file.id)


def test_a_reference_that_is_too_long_is_invalid(core: Core) -> None:
    """256 characters are accepted, 257 are not."""
    send(core, "x" * 256)
    with pytest.raises(Refusal) as refusal:
        send(core, "x" * 257)
    assert code_of(refusal) == "INVALID_ARGUMENT"


def test_an_unknown_model_and_too_many_bytes_are_invalid(clock: HandClock) -> None:
    """Both are refused for good."""
    core = new_core(clock, models=frozenset({"en_v2"}), max_bytes=10)
    send(core, model="en_v2", content=bytes(10))
    for model, size in (("en_v9", 1), ("en_v2", 11)):
        with pytest.raises(Refusal) as refusal:
            send(core, model=model, content=bytes(size))
        assert code_of(refusal) == "INVALID_ARGUMENT"


def test_an_upload_without_its_end_leaves_nothing(core: Core) -> None:
    """An aborted upload was never there, but the trace knows it."""
    account = core.account("key")
    with account.upload("r", Config()) as upload:
        upload.add(b"half of")
    assert account.stored == 0
    assert list(account.tally.trace) == [("submit", "r", "ABORTED")]


def test_an_upload_without_its_end_may_leave_a_failed_file(clock: HandClock) -> None:
    """The other reading is a knob."""
    core = new_core(clock, no_eof=NoEof.FAILED)
    account = core.account("key")
    with account.upload("r", Config()):
        pass
    [seen] = account.survey()
    assert (seen.status, seen.error) == (RemoteStatus.FAILED, "The upload ended early.")
    assert account.pending == 0


def test_the_list_is_newest_first_or_shuffled(clock: HandClock) -> None:
    """Shuffled lists hold the same files in an order that changes."""
    core, shuffled = new_core(clock), new_core(clock, order=Order.SHUFFLED)
    for number in range(20):
        send(core, str(number))
        send(shuffled, str(number))
    ordered = [seen.reference for seen in core.account("key").survey()]
    assert ordered == [str(number) for number in reversed(range(20))]
    first, second = ([seen.reference for seen in shuffled.account("key").survey()] for _ in range(2))
    assert sorted(first) == sorted(second) == sorted(ordered)
    assert first != second


def test_a_lagging_list_hides_young_files(clock: HandClock) -> None:
    """They exist and count, but are not listed yet; the status of one is known."""
    core = new_core(clock, list_lag_ms=1000)
    account = core.account("key")
    file = send(core)
    clock.pass_ms(999)
    assert account.survey() == []
    assert (account.stored, len(account.status(file.id))) == (1, 1)
    clock.pass_ms(1)
    assert len(account.survey()) == 1


def test_an_old_list_shows_what_was(core: Core, clock: HandClock) -> None:
    """A list of the past has old statuses, deleted files, and lacks newer ones."""
    account = core.account("key")
    old = send(core, "old")
    clock.pass_ms(5000)
    account.delete(old.id)
    send(core, "new")
    clock.pass_ms(1000)
    assert [(seen.reference, seen.status) for seen in account.survey(age_ms=5700)] == [("old", RemoteStatus.PROCESSING)]
    assert [seen.reference for seen in account.survey(age_ms=1001)] == ["old"]
    assert [seen.reference for seen in account.survey()] == ["new"]


def test_files_expire_with_the_retention(clock: HandClock) -> None:
    """After its time a file is gone without anybody deleting it."""
    core = new_core(clock, retention_ms=60_000)
    send(core)
    clock.pass_ms(59_999)
    assert core.account("key").stored == 1
    clock.pass_ms(1)
    assert core.account("key").stored == 0


def test_the_tally_finds_a_double_submission(core: Core) -> None:
    """Two uploads accepted under one reference are told by name."""
    for reference in ("once", "twice", "twice"):
        send(core, reference)
    assert core.account("key").tally.submitted_twice == ["twice"]


def test_the_trace_is_bounded_and_tells_outcomes(clock: HandClock) -> None:
    """The last calls are kept, with what became of them."""
    core = new_core(clock, trace=3)
    file = send(core, "r")
    account = core.account("key")
    account.survey()
    with pytest.raises(Refusal):
        account.fetch(file.id)
    account.delete(file.id)
    assert list(account.tally.trace) == [
        ("survey", "", "OK"),
        ("fetch", file.id, "FAILED_PRECONDITION"),
        ("delete", file.id, "OK"),
    ]
    assert account.tally.calls == {"submit": 1, "survey": 1, "fetch": 1, "delete": 1}


def test_the_observer_hears_of_every_change(clock: HandClock) -> None:
    """An oracle placed there sees each change at its instant."""
    heard: list[tuple[str, str]] = []
    core = new_core(clock)
    core.watch(lambda _account, change, file: heard.append((change, file.reference)))
    first, second = send(core, "a"), send(core, "b")
    clock.pass_ms(5000)
    core.account("key").delete(first.id)
    core.account("key").vanish(second.id)
    assert heard == [
        ("accepted", "a"),
        ("accepted", "b"),
        ("ended", "a"),
        ("ended", "b"),
        ("deleted", "a"),
        ("vanished", "b"),
    ]


def test_accounts_know_nothing_of_each_other(core: Core) -> None:
    """Files of one key are not seen and not reached with another."""
    file: File = send(core, key="one")
    other = core.enter("two")
    assert other.survey() == []
    with pytest.raises(Refusal):
        other.delete(file.id)


def test_the_report_is_json_and_keeps_keys_secret(core: Core) -> None:
    """The report says what happened, and no key can be read in it."""
    send(core, key="very secret key")
    core.account("very secret key").add_foreign(2)
    text = json.dumps(core.report())
    assert "very secret" not in text
    [account] = json.loads(text)["accounts"]
    assert account["uploads_accepted"] == 1
    assert (account["files_left"], account["foreign_files_left"]) == (3, 2)
    assert account["pending_peak"] == 3
