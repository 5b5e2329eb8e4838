"""Verdicts on audio: what was accepted and came to nothing is not sent again by itself, whatever it is called."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from batcher.model import Cause, Job, Remedy
from batcher.requests import Request, apply_request
from batcher.states import Event, State
from batcher.store import jobs
from batcher.store.migrate import migrations
from batcher.store.transcripts import keep
from batcher.store.verdicts import Verdict, find
from tests.store_bench import OPTIONS, OTHER_OPTIONS, WORDS, Bench, digest_of, found, open_bench

AUDIO = b"audio"
VERDICTS = 7  #: the migration that brought them
FIRST_ATTEMPTS = 8  #: the one that tells which attempts were made of what a job is about
SECOND_CHANCES = 10  #: the one that keeps those of an audio


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a fresh table."""
    with open_bench() as opened:
        yield opened


def submitted(bench: Bench, name: str = "a") -> Job:
    """Return a job that the service has accepted, of the audio that all of these are about."""
    job = bench.bring(bench.new(name), State.UPLOADING)
    return bench.bring(bench.fire(job, Event.SEAL, digest=digest_of(AUDIO), sealed_at=bench.now), State.SUBMITTED)


def end(bench: Bench, job: Job, reason: str, *events: Event, cause: Cause | None = None) -> Job:
    """Move a job along some events to its end."""
    for event in events:
        facts = {"cause": cause} if cause else {}
        source = bench.job(job.id).state
        assert bench.do(lambda ledger, s=source, e=event, f=facts: jobs.fire(ledger, job.id, s, e, reason, f))  # type: ignore[misc]
    return bench.job(job.id)


def failed(bench: Bench, name: str = "a") -> Job:
    """Return a job that the service has accepted and failed."""
    return end(bench, submitted(bench, name), "too noisy", Event.SERVICE_FAILED, Event.CLEARED, cause=Cause.SERVICE)


def verdict(bench: Bench, options: str = OPTIONS) -> Verdict | None:
    """Return the verdict on the audio."""
    return bench.do(lambda ledger: find(ledger, digest_of(AUDIO), options))


def look_at(bench: Bench, name: str, content: bytes = AUDIO) -> Job:
    """Look into a recording of which a scan has just told."""
    return bench.examine(bench.at(name), content)


def retry(bench: Bench, *wanted: Job) -> int:
    """Ask for jobs once more, as a person does."""
    return bench.do(lambda ledger: apply_request(ledger, Request("retry", [job.id for job in wanted])))


def cancel(bench: Bench, job: Job) -> int:
    """Give a job up, as a person does."""
    return bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id])))


def copy(bench: Bench, name: str) -> Job:
    """Find a copy of the audio, and look into it."""
    bench.scan(found(name))
    return look_at(bench, name)


@pytest.mark.parametrize("act", ["touched", "copied"])
def test_what_the_service_failed_ends_so_again(bench: Bench, act: str) -> None:
    """Under another time and under another name; it says why, and what sends it again."""
    failed(bench)
    name = "a" if act == "touched" else "b"
    bench.scan(found(name, mtime_ns=2))
    assert bench.at(name).compare
    job = look_at(bench, name)
    assert (job.state, job.cause, job.digest) == (State.FAILED, Cause.SERVICE, digest_of(AUDIO))
    assert job.reason == ("the service has failed this very audio before: too noisy; `batcher retry` sends it again")
    assert bench.history(job)[-1] == ("new", "failed_before", "failed")


def test_a_reason_that_is_a_sentence_is_no_sentence_within_another(bench: Bench) -> None:
    """Its full stop is left out."""
    end(bench, submitted(bench), "It is noisy.", Event.SERVICE_FAILED, Event.CLEARED, cause=Cause.SERVICE)
    assert str(copy(bench, "b").reason).endswith("before: It is noisy; `batcher retry` sends it again")


def test_it_says_the_same_however_often_it_is_touched(bench: Bench) -> None:
    """One that ended by a verdict adds nothing to it."""
    failed(bench)
    reasons = set()
    for time in (2, 3, 4):
        bench.scan(found("a", mtime_ns=time))
        reasons.add(look_at(bench, "a").reason)
    assert len(reasons) == 1


def test_what_the_service_lost_ends_so_again(bench: Bench) -> None:
    """Somebody may have deleted it after it was billed."""
    end(bench, submitted(bench), "gone", Event.VANISHED, cause=Cause.VANISHED)
    bench.scan(found("a", mtime_ns=2))
    job = look_at(bench, "a")
    assert (job.state, job.cause) == (State.FAILED, Cause.VANISHED)
    assert str(job.reason).startswith("the service has lost this very audio before: gone; ")


@pytest.mark.parametrize(
    "act", ["touched", "touched twice", "rewritten and back", "other options and back", "sent again"]
)
def test_what_was_lost_knows_what_it_had_sent(bench: Bench, act: str) -> None:
    """It may show up again. Where anything else was sent since, or may be in its place, nothing is its own."""
    end(bench, submitted(bench), "gone", Event.VANISHED, cause=Cause.VANISHED)
    bench.scan(found("a", mtime_ns=2), options=OTHER_OPTIONS if "options" in act else OPTIONS)
    if act == "touched twice":
        bench.scan(found("a", mtime_ns=3))
    elif act == "rewritten and back":
        bench.bring(look_at(bench, "a", b"other"), State.UPLOADING)
        bench.fire(bench.at("a"), Event.INTERRUPTED)
    elif act == "sent again":
        bench.bring(bench.at("a"), State.UPLOADING)
        bench.fire(bench.at("a"), Event.POSTPONED)
    if not act.startswith("touched"):
        bench.scan(found("a", mtime_ns=4))
    job = look_at(bench, "a")
    assert (job.state, job.cause) == (State.FAILED, Cause.VANISHED)
    assert (job.first_attempt <= job.attempt) is act.startswith("touched")


def test_what_was_given_up_at_the_service_stays_given_up(bench: Bench) -> None:
    """It may have been billed; that it was touched is no wish to pay for it again."""
    end(bench, submitted(bench), "cancelled on request", Event.CANCEL, Event.CLEARED)
    bench.scan(found("a", mtime_ns=2), found("b"))
    for name in ("a", "b"):
        job = look_at(bench, name)
        assert job.state is State.CANCELLED
        assert job.reason == (
            "this very audio was given up after the service had accepted it; `batcher retry` sends it again"
        )


@pytest.mark.parametrize("state", [State.NEW, State.WAITING, State.TWIN])
def test_what_was_given_up_before_it_was_accepted_may_be_sent(bench: Bench, state: State) -> None:
    """It costs once."""
    job = bench.bring(bench.new("a"), state)
    bench.fire(job, Event.CANCEL, digest=digest_of(AUDIO), twin_of=None)
    assert verdict(bench) is None


def test_what_was_sealed_and_proven_absent_before_it_was_given_up_may_be_sent(bench: Bench) -> None:
    """The service has never received it."""
    job = bench.bring(bench.new("a"), State.UNCERTAIN)
    bench.fire(bench.fire(job, Event.ABSENT), Event.CANCEL)
    assert bench.rows("SELECT * FROM verdict") == []


def test_what_was_given_up_before_its_second_chance_had_been_accepted(bench: Bench) -> None:
    """The first time was billed, perhaps."""
    job = end(bench, submitted(bench), "internal error", Event.SERVICE_FAILED, cause=Cause.SERVICE)
    waiting = bench.fire(job, Event.FORGIVEN, forgiven=1, remote=None, sealed_at=None, cause=None)
    bench.fire(waiting, Event.CANCEL)
    found_one = verdict(bench)
    assert found_one is not None
    assert found_one.state is State.CANCELLED


@pytest.mark.parametrize(
    ("event", "cause", "kept"),
    [
        (Event.REJECTED, Cause.REFUSED, False),
        (Event.REJECTED, Cause.SERVICE, False),
        (Event.UNREADABLE, Cause.SOURCE, False),
        (Event.UNREADABLE, Cause.SERVICE, False),
    ],
)
def test_what_failed_before_the_seal_may_be_sent(bench: Bench, event: Event, cause: Cause, kept: bool) -> None:
    """Nothing of it can have been accepted."""
    job = bench.bring(bench.new("a"), State.UPLOADING)
    bench.fire(job, event, cause=cause, digest=digest_of(AUDIO))
    assert (verdict(bench) is not None) is kept


def test_what_could_not_be_converted_had_been_accepted_as_it_was(bench: Bench) -> None:
    """It failed before its seal, but it is the second time that it was sent."""
    job = bench.bring(bench.new("a"), State.UPLOADING)
    bench.fire(job, Event.UNREADABLE, cause=Cause.SERVICE, digest=digest_of(AUDIO), convert=1)
    assert verdict(bench) is not None


def test_what_was_given_up_after_many_lost_answers_ends_so_again(bench: Bench) -> None:
    """Each of them may have been accepted after all."""
    job = bench.bring(bench.new("a"), State.UPLOADING)
    job = bench.bring(bench.fire(job, Event.SEAL, digest=digest_of(AUDIO), sealed_at=bench.now), State.UNCERTAIN)
    bench.fire(job, Event.GIVEN_UP, cause=Cause.SERVICE)
    assert verdict(bench) is not None


def test_a_url_has_no_verdict(bench: Bench) -> None:
    """What it leads to may be another audio by now."""
    bench.scan(replace(found("b.mp3"), path=b"https://a/b.mp3"))
    ((number,),) = bench.rows("SELECT id FROM job")
    job = bench.bring(bench.job(int(str(number))), State.SUBMITTED)
    end(bench, job, "no", Event.SERVICE_FAILED, Event.CLEARED, cause=Cause.SERVICE)
    assert bench.rows("SELECT * FROM verdict") == []


def test_with_other_options_it_is_another_job(bench: Bench) -> None:
    """It may succeed, and back at the old ones it is known to have failed."""
    failed(bench)
    assert verdict(bench, OTHER_OPTIONS) is None
    bench.scan(found("a"), options=OTHER_OPTIONS)
    assert look_at(bench, "a").state is State.WAITING
    bench.scan(found("a"))
    assert look_at(bench, "a").state is State.FAILED


def test_a_twin_of_what_was_given_up_ends_with_it(bench: Bench) -> None:
    """It is released, looked at, and not paid for a second time."""
    carrier = submitted(bench)
    bench.new("b")
    twin = look_at(bench, "b")
    assert twin.twin_of == carrier.id
    end(bench, carrier, "cancelled on request", Event.CANCEL, Event.CLEARED)
    assert bench.job(twin.id).state is State.NEW
    assert look_at(bench, "b").state is State.CANCELLED


def test_a_wish_of_a_person_passes_the_verdict(bench: Bench) -> None:
    """Of any of its names: that one is sent, the others wait for it."""
    failed(bench)
    b = copy(bench, "b")
    assert retry(bench, b) == 1
    assert look_at(bench, "b").state is State.WAITING
    bench.scan(found("a", mtime_ns=2))
    assert look_at(bench, "a").twin_of == b.id


def test_a_wish_that_is_taken_back_sends_nothing(bench: Bench) -> None:
    """Tried again and then given up: neither that name nor another one is sent."""
    failed(bench)
    b = copy(bench, "b")
    retry(bench, b)
    cancel(bench, b)
    assert copy(bench, "c").state is State.FAILED
    bench.scan(found("b", mtime_ns=2))
    assert look_at(bench, "b").state is State.FAILED


def test_a_wish_for_a_name_whose_file_is_gone_sends_no_other_name(bench: Bench) -> None:
    """It fails, and nothing else was asked for."""
    failed(bench)
    retry(bench, bench.at("a"))
    bench.fire(bench.at("a"), Event.UNREADABLE, cause=Cause.SOURCE)
    assert copy(bench, "b").state is State.FAILED


@pytest.mark.parametrize(("event", "cause"), [(Event.UNREADABLE, Cause.SOURCE), (Event.UNSUITABLE, Cause.UNSUITABLE)])
def test_a_wish_has_had_its_try_when_the_job_ends(bench: Bench, event: Event, cause: Cause) -> None:
    """What comes to lie under that name later, and has failed under another one, is not paid for again by itself."""
    gone = bench.bring(bench.new("b"), State.FAILED)
    retry(bench, gone)
    bench.fire(bench.at("b"), event, cause=cause)
    failed(bench)
    bench.scan(found("b", mtime_ns=2))
    assert look_at(bench, "b").state is State.FAILED


def test_a_wish_holds_until_the_job_is_accepted(bench: Bench) -> None:
    """What is touched before the next run is meant all the same; when it has failed once more, it is over."""
    failed(bench)
    bench.now += 1
    retry(bench, bench.at("a"))
    bench.scan(found("a", mtime_ns=2))
    job = bench.bring(look_at(bench, "a"), State.SUBMITTED)
    end(bench, job, "still too noisy", Event.SERVICE_FAILED, Event.CLEARED, cause=Cause.SERVICE)
    assert "still too noisy" in str(copy(bench, "b").reason)
    bench.scan(found("a", mtime_ns=3))
    assert look_at(bench, "a").state is State.FAILED


def test_a_wish_is_fulfilled_when_another_name_was_sent_for_it(bench: Bench) -> None:
    """Both were asked for and one was sent; given up at the service it is not sent as the other."""
    failed(bench)
    bench.now += 1
    retry(bench, copy(bench, "b"), bench.at("a"))
    carrier = bench.bring(look_at(bench, "a"), State.SUBMITTED)
    assert look_at(bench, "b").twin_of == carrier.id
    end(bench, carrier, "cancelled on request", Event.CANCEL, Event.CLEARED)
    assert look_at(bench, "b").state is State.CANCELLED


@pytest.mark.parametrize("way", ["fetched", "shared", "recognised"])
def test_a_wish_is_fulfilled_by_a_transcript(bench: Bench, way: str) -> None:
    """Its own, that of its carrier, or one that was there already."""
    failed(bench)
    retry(bench, bench.at("a"))
    job = look_at(bench, "a")
    if way == "recognised":
        retry(bench, end(bench, job, "given up", Event.CANCEL))
    elif way == "shared":
        retry(bench, copy(bench, "b"))
    carrier = bench.bring(job if way != "recognised" else submitted(bench, "c"), State.COMPLETED)
    assert bench.do(lambda ledger: keep(ledger, carrier, "rest", WORDS, b"packed"))
    name = "b" if way == "shared" else "a"
    if way == "recognised":
        look_at(bench, name)
    assert (bench.at(name).state, bench.at(name).asked) == (
        State.STORED if way == "fetched" else State.RENDERING,
        False,
    )


def test_what_a_scan_tries_again_by_itself_takes_no_verdict_back(bench: Bench) -> None:
    """A recording that can be read again may be a copy of what has failed."""
    failed(bench)
    bench.fire(bench.new("b", 7), Event.UNREADABLE, cause=Cause.SOURCE)
    bench.scan(found("b", 7))
    assert look_at(bench, "b").state is State.FAILED


def test_a_verdict_does_not_outlive_the_transcript(bench: Bench) -> None:
    """Audio that is done after all is known by what it says."""
    failed(bench)
    other = bench.bring(submitted(bench, "b"), State.COMPLETED)
    assert bench.do(lambda ledger: keep(ledger, other, "rest", WORDS, b"packed"))
    assert verdict(bench) is None


def test_other_names_are_done_with_the_transcript(bench: Bench) -> None:
    """At once, for their files may be gone by now; one that somebody has given up itself stays so."""
    failed(bench)
    b, _, d = (copy(bench, name) for name in "bcd")
    retry(bench, b, d)
    look_at(bench, "b")
    cancel(bench, look_at(bench, "d"))
    bench.fire(bench.new("e", 7), Event.UNREADABLE, cause=Cause.SOURCE)
    carrier = bench.bring(bench.job(b.id), State.COMPLETED)
    assert bench.do(lambda ledger: keep(ledger, carrier, "rest", WORDS, b"packed"))
    ended = [State.RENDERING, State.RENDERING, State.CANCELLED, State.FAILED]
    assert [bench.at(name).state for name in "acde"] == ended
    assert bench.at("a").transcript == bench.at("c").transcript == bench.job(carrier.id).transcript


def test_what_was_cancelled_with_another_name_is_done_with_the_transcript(bench: Bench) -> None:
    """The one that was given up itself stays so."""
    end(bench, submitted(bench), "cancelled on request", Event.CANCEL, Event.CLEARED)
    retry(bench, copy(bench, "b"))
    assert copy(bench, "c").cause == Cause.GIVEN_UP
    carrier = bench.bring(look_at(bench, "b"), State.COMPLETED)
    assert bench.do(lambda ledger: keep(ledger, carrier, "rest", WORDS, b"packed"))
    assert [bench.at(name).state for name in "ac"] == [State.CANCELLED, State.RENDERING]


def forgiven(bench: Bench) -> Job:
    """Return a job that waits for its second chance."""
    job = end(bench, submitted(bench), "internal error", Event.SERVICE_FAILED, cause=Cause.SERVICE)
    return bench.fire(job, Event.FORGIVEN, forgiven=1, cause=None, remote=None, sealed_at=None)


@pytest.mark.parametrize("act", ["touched", "unreadable"])
def test_a_second_chance_is_one_of_the_audio(bench: Bench, act: str) -> None:
    """Whatever becomes of the job that was given it, the audio has it, and has no third one."""
    waiting = forgiven(bench)
    if act == "unreadable":
        bench.fire(bench.fire(waiting, Event.CLAIMED), Event.UNREADABLE, cause=Cause.SOURCE)
    bench.scan(found("a", mtime_ns=99))
    again = look_at(bench, "a")
    assert (again.state, again.forgiven) == (State.WAITING, 1)
    bench.now += 1
    end(bench, bench.bring(again, State.SUBMITTED), "internal error", Event.SERVICE_FAILED, cause=Cause.SERVICE)
    end(bench, again, "internal error", Event.CLEARED)
    assert copy(bench, "b").state is State.FAILED


def test_a_second_chance_that_is_given_up_is_none_any_more(bench: Bench) -> None:
    """Nor for a copy."""
    cancel(bench, forgiven(bench))
    assert copy(bench, "b").state is State.CANCELLED


def test_a_second_chance_may_be_taken_by_another_name(bench: Bench) -> None:
    """Of all the names of an audio one sends it, once."""
    waiting = forgiven(bench)
    twin = copy(bench, "b")
    bench.scan(found("a", mtime_ns=99))
    look_at(bench, "a", b"another audio")
    assert (twin.twin_of, look_at(bench, "b").forgiven) == (waiting.id, 1)


def test_what_was_failed_for_the_sake_of_the_account_is_no_verdict(bench: Bench) -> None:
    """It was not transcribed, and goes again as soon as the account is mended."""
    job = submitted(bench)
    bench.fire(job, Event.SERVICE_FAILED, cause=Cause.SERVICE, remedy=Remedy.STOP)
    assert verdict(bench) is None


def test_a_verdict_tells_what_became_of_its_audio_last(bench: Bench) -> None:
    """What was lost, shows up again and is given up then was given up."""
    job = end(bench, submitted(bench), "it is gone", Event.VANISHED, cause=Cause.VANISHED)
    bench.fire(job, Event.ADOPTED, cause=None)
    end(bench, job, "cancelled on request", Event.CANCEL, Event.CLEARED)
    told = verdict(bench)
    assert told is not None
    assert told.state is State.CANCELLED
    assert copy(bench, "b").cause == Cause.GIVEN_UP


def ended(number: int, state: State, **columns: object) -> str:
    """Return the statement that records a job as an older batcher had left it, with a content of its own."""
    known: dict[str, object] = {"id": number, "path": f"/{number}", "output": number, "output_key": number} | columns
    known |= {"size": 1, "mtime_ns": 1, "options": "o", "state": str(state), "since": number, "created": 1}
    known.setdefault("digest", number)
    blobs = {name: f"CAST('{known.pop(name)}' AS BLOB)" for name in ("path", "digest")}
    values = blobs | {name: f"'{value}'" for name, value in known.items()}
    return f"INSERT INTO job ({', '.join(values)}) VALUES ({', '.join(values.values())})"


def test_a_table_of_before_knows_what_had_ended_so_already() -> None:
    """What had been accepted and has no transcript; once for each audio."""
    rows = [
        ended(1, State.FAILED, cause="service", reason="noisy", remote="r1", sealed_at=7),
        ended(2, State.FAILED, cause="vanished", reason="gone", remote="r2", sealed_at=8, digest=1),
        ended(3, State.FAILED, cause="vanished", reason="gone", remote="r3"),
        ended(4, State.CANCELLED, reason="on request", remote="r4"),
        ended(5, State.CANCELLED),
        ended(6, State.FAILED, cause="service"),
        ended(7, State.FAILED, cause="output", remote="r7"),
        ended(8, State.FAILED, cause="service", remote="r8", path="https://a/b"),
        ended(9, State.FAILED, cause="service", remote="r9"),
    ]
    with closing(sqlite3.connect(":memory:")) as conn:
        bring_up(conn, VERDICTS, rows)
        kept = conn.execute("SELECT digest, state, cause, reason, accepted FROM verdict").fetchall()
    assert kept == [
        (b"1", "failed", "service", "noisy", 7),
        (b"3", "failed", "vanished", "gone", 3),
        (b"4", "cancelled", None, "on request", 4),
    ]


def bring_up(conn: sqlite3.Connection, to: int, rows: list[str]) -> None:
    """Bring a table to the present schema with some jobs of the version before `to`, one of which has a transcript."""
    for number, script in migrations():
        if number == to:
            conn.execute("INSERT INTO option_set VALUES ('o', '{}')")
            conn.execute("INSERT INTO transcript VALUES (1, x'39', 'o', 'rest', 'r', 'r9', 1, 1, x'00')")
            for row in rows:
                conn.execute(row)
        conn.executescript(script)


def test_a_table_of_before_knows_of_the_second_chances_in_it() -> None:
    """Those under way and about to be given; none where the account was at fault. The next acceptance is later."""
    failed = {"cause": "service", "reason": "noisy"}
    rows = [
        ended(1, State.WAITING, forgiven=1),
        ended(2, State.SEALED, convert=1, sealed_at=2, reference="r"),
        ended(3, State.FAILING, remedy="again", **failed),
        ended(4, State.FAILING, remedy="stop", **failed),
        ended(5, State.SUBMITTED, reference="s", remote="r5"),
        ended(6, State.FAILING, **failed),
    ]
    with closing(sqlite3.connect(":memory:")) as conn:
        bring_up(conn, SECOND_CHANCES, rows)
        kept = conn.execute("SELECT digest, accepted, forgiven, convert FROM verdict").fetchall()
    assert kept == [(b"1", 0, 1, 0), (b"2", 1, 0, 1), (b"3", 2, 0, 0), (b"6", 5, 0, 0)]


def test_a_table_of_before_takes_up_nothing_that_was_made_before_a_second_chance() -> None:
    """What the service failed the first time has been deleted, or is to be."""
    rows = [
        ended(1, State.WAITING, attempt=3),
        ended(2, State.WAITING, attempt=3, forgiven=1),
        ended(3, State.UNCERTAIN, attempt=3, convert=1, reference="r"),
    ]
    with closing(sqlite3.connect(":memory:")) as conn:
        bring_up(conn, FIRST_ATTEMPTS, rows)
        assert conn.execute("SELECT first_attempt FROM job ORDER BY id").fetchall() == [(1,), (4,), (3,)]
