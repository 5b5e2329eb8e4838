"""The four quotas of the REST API, its request budgets, money, permissions, keys, and the order of the checks."""

import pytest

from batcher.emulator.core import Core
from batcher.emulator.knobs import Knobs, Load, RestKnobs
from batcher.emulator.objects import Refusal
from batcher.emulator.recognizers import Echo
from batcher.emulator.rest_refusals import Bucket, Exhausted, Kind
from batcher.model import Limits
from tests.emulator_tools import HandClock, create_job, refused_rest, rest_account, store_file

MINUTE = 60_000


@pytest.fixture
def clock() -> HandClock:
    """Return a clock that the test moves."""
    return HandClock()


LITERAL = {
    "files": "Total file count limit has been exceeded for your organization. Please delete some.",
    "bytes": "Total file size limit has been exceeded for your organization. Please delete some.",
    "transcriptions": ("Total transcription count limit for your organization has been exceeded. Please delete some."),
}


@pytest.mark.parametrize("after", [True, False])
def test_the_limit_of_files_refuses_the_next_one(clock: HandClock, after: bool) -> None:
    """In the words of the service, before or after the bytes; a deleted file makes room."""
    account = rest_account(clock, RestKnobs(files=2), refuse_after_bytes=after)
    first, _ = store_file(account), store_file(account)
    refusal = refused_rest(store_file, account)
    assert (refusal.status, refusal.code, refusal.message) == (429, "limit_exceeded", LITERAL["files"])
    account.delete_file(first.id)
    store_file(account)
    assert (account.tally.files_peak, account.tally.reasons) == (2, {"files": 1})


def test_the_limit_of_bytes_counts_every_file(clock: HandClock) -> None:
    """Exactly full is allowed, a byte more is not."""
    account = rest_account(clock, RestKnobs(bytes=100))
    file = store_file(account, bytes(60))
    assert refused_rest(store_file, account, bytes(41)).message == LITERAL["bytes"]
    store_file(account, bytes(40))
    assert refused_rest(account.upload).message == LITERAL["bytes"], "a full account is full before the bytes come"
    account.delete_file(file.id)
    store_file(account, bytes(60))
    assert (account.tally.bytes_peak, account.tally.reasons) == (100, {"bytes": 2})


def test_the_limits_of_transcriptions_are_two(clock: HandClock) -> None:
    """Pending ones end by themselves, the total only by deleting. Only one message says what to delete."""
    account = rest_account(clock, pending=2, stored=3)
    jobs = [create_job(account), create_job(account)]
    refusal = refused_rest(create_job, account)
    assert (refusal.status, refusal.reason) == (429, "pending")
    assert "pending" in refusal.message
    assert "delete" not in refusal.message
    clock.pass_ms(5000)
    create_job(account)
    assert refused_rest(create_job, account).message == LITERAL["transcriptions"]
    account.delete(jobs[0].id)
    create_job(account)
    assert (account.tally.pending_peak, account.tally.stored_peak) == (2, 3)
    assert account.tally.reasons == {"pending": 1, "transcriptions": 1}


def test_the_documented_reading_of_pending_ends_when_work_begins(clock: HandClock) -> None:
    """By default what is at work still counts; a knob takes the documentation by its word."""
    strict, lenient = (
        rest_account(clock, pending=1),
        rest_account(clock, RestKnobs(processing_is_pending=False), pending=1),
    )
    create_job(strict)
    create_job(lenient)
    assert refused_rest(create_job, lenient).reason == "pending"
    clock.pass_ms(200)
    assert refused_rest(create_job, strict).reason == "pending"
    create_job(lenient)
    assert lenient.tally.pending_peak == 1


def test_what_others_of_the_organisation_hold_is_counted_and_not_seen(clock: HandClock) -> None:
    """An empty project may be refused; the playground at least is in the counts."""
    account = rest_account(clock, RestKnobs(files=5, siblings=Load(files=3), playground=Load(files=2)))
    assert (account.list_files(), account.count(Kind.FILE)) == ([], (0, 2))
    assert refused_rest(store_file, account).reason == "files"
    account.siblings = Load()
    store_file(account)
    account.siblings = Load(transcriptions=2000)
    assert refused_rest(create_job, account).reason == "transcriptions"


def test_limits_may_be_changed_while_it_runs(clock: HandClock) -> None:
    """A lowered limit refuses what a raised one accepts."""
    account = rest_account(clock)
    account.limits = Limits(pending=0, files=0)
    assert refused_rest(create_job, account).reason == "pending"
    assert refused_rest(store_file, account).reason == "files"
    account.limits = Limits(pending=1)
    create_job(account)
    store_file(account)


def test_a_file_that_is_too_large_fails_the_validation(clock: HandClock) -> None:
    """As soon as it is too large, not at its end. The size of one is no quota: 400, not 429."""
    account = rest_account(clock, max_bytes=10)
    store_file(account, bytes(10))
    with account.upload() as upload:
        upload.add(bytes(10))
        refusal = refused_rest(upload.add, b"x")
    assert (refusal.status, refusal.code) == (400, "invalid_request")
    assert refusal.invalid[0].location == "file.file"
    assert len(account.files) == 1


@pytest.mark.parametrize("which", list(Exhausted))
def test_without_money_nothing_new_is_transcribed(clock: HandClock, which: Exhausted) -> None:
    """402 of three types; what is finished may be fetched and deleted, and files may be stored."""
    account = rest_account(clock)
    job = create_job(account, store_file(account))
    clock.pass_ms(5000)
    account.exhausted = which
    refusal = refused_rest(create_job, account)
    assert (refusal.status, refusal.code) == (402, which.value)
    assert account.balance_exhausted
    account.transcript(job.id)
    account.delete(job.id)
    store_file(account)
    account.balance_exhausted = False
    create_job(account)


def test_the_form_is_checked_before_money_and_money_before_room(clock: HandClock) -> None:
    """Whoever has several faults is told the first one."""
    account = rest_account(clock, pending=0)
    account.balance_exhausted = True
    assert refused_rest(create_job, account, model="nonsense").status == 400
    assert refused_rest(create_job, account).status == 402
    account.balance_exhausted = False
    assert refused_rest(create_job, account).status == 429


def test_a_key_may_lack_a_permission(clock: HandClock) -> None:
    """403, and the request costs nothing of the budget."""
    account = rest_account(clock, RestKnobs(requests_per_minute=1))
    account.forbidden = frozenset({Bucket.FILES})
    for _ in range(3):
        assert refused_rest(account.begin, "GET /v1/files", Bucket.FILES).code == "permission_denied"
    account.begin("GET /v1/models", Bucket.MODELS)
    account.forbidden = frozenset()
    account.begin("GET /v1/files", Bucket.FILES)


@pytest.mark.parametrize("bucket", list(Bucket))
def test_each_bucket_has_requests_of_its_own(clock: HandClock, bucket: Bucket) -> None:
    """The next one is refused in the words of the service until a minute has passed; other buckets are not."""
    account = rest_account(clock, RestKnobs(requests_per_minute=2))
    account.begin("x", bucket)
    clock.pass_ms(10_000)
    account.begin("x", bucket)
    refusal = refused_rest(account.begin, "x", bucket)
    assert (refusal.status, refusal.code) == (429, "limit_exceeded")
    assert refusal.message == f"Requests per minute limit for {bucket} has been exceeded for your organization."
    assert account.retry_after_ms(bucket) == MINUTE - 10_000
    for other in set(Bucket) - {bucket}:
        account.begin("y", other)
    clock.pass_ms(MINUTE - 10_000)
    account.begin("x", bucket)
    assert account.tally.requests["x"] == 4
    assert account.tally.reasons["requests"] == 1
    assert account.tally.quota_refusals == 0, "the pace is no quota"


def test_no_limit_of_requests_is_no_limit(clock: HandClock) -> None:
    """Zero switches the budgets off."""
    account = rest_account(clock, RestKnobs(requests_per_minute=0))
    for _ in range(2000):
        account.begin("x", Bucket.FILES)


def test_keys_that_are_empty_revoked_unknown_or_of_another_region(clock: HandClock) -> None:
    """All get the same 401, on either API."""
    knobs = Knobs(keys=frozenset({"good", "far"}), rest=RestKnobs(other_region_keys=frozenset({"far"})))
    core = Core(clock, Echo(), knobs)
    core.rest("good").revoked = True
    for key in ("", "good", "bad", "far"):
        assert refused_rest(core.enter_rest, key).code == "unauthenticated"
    core.rest("good").revoked = False
    core.enter_rest("good")
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        core.enter("bad")
