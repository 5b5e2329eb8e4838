"""How recordings come into the table: the same audio is never sent twice, and no two share an output."""

from collections.abc import Iterator
from dataclasses import replace
from unicodedata import normalize

import pytest

from batcher.model import Cause, Job
from batcher.states import Event, State
from batcher.store import admission
from batcher.store.admission import LOOK_AGAIN_MS
from tests.store_bench import OPTIONS, OTHER_OPTIONS, Bench, digest_of, found, open_bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a fresh table."""
    with open_bench() as opened:
        yield opened


def done(bench: Bench, name: str, content: bytes, size: int = 1000) -> Job:
    """Return a job whose transcript is stored and whose outputs are written."""
    job = bench.fire(bench.new(name, size), Event.ADMITTED)
    job = bench.fire(job, Event.CLAIMED, **bench._facts(job, Event.CLAIMED))
    job = bench.fire(job, Event.SEAL, digest=digest_of(content))
    return bench.fire(bench.bring(job, State.STORED), Event.CLEARED, formats="txt", remote=None)


def sending(bench: Bench, name: str, size: int = 1000) -> Job:
    """Return a job whose only reading is its upload, which is under way."""
    return bench.bring(bench.new(name, size), State.UPLOADING)


# What a scan finds.


def test_a_new_recording_is_recorded_once(bench: Bench) -> None:
    """The first scan adds it, the next knows it."""
    assert bench.scan(found("a")).counts == {"new": 1}
    assert bench.scan(found("a")).counts == {"known": 1}
    job = bench.at("a")
    assert (job.state, job.size, job.mtime_ns, job.options, job.output) == (State.NEW, 1000, 1, OPTIONS, "a")
    assert (job.created, job.since) == (bench.now, bench.now)


@pytest.mark.parametrize(
    ("candidate", "options"),
    [(found("a", 1001), OPTIONS), (found("a", 1000, 2), OPTIONS), (found("a"), OTHER_OPTIONS)],
    ids=["size", "time", "options"],
)
@pytest.mark.parametrize(
    "state", [State.NEW, State.WAITING, State.TWIN, State.DONE, State.FAILED, State.CANCELLED, State.SKIPPED]
)
def test_a_change_starts_a_job_over(bench: Bench, state: State, candidate: admission.Candidate, options: str) -> None:
    """Another size, time or set of options is looked at from the start, by content."""
    bench.bring(bench.new("a"), state)
    assert bench.scan(candidate, options=options).counts == {"changed": 1}
    job = bench.at("a")
    assert job.state is State.NEW
    assert (job.size, job.mtime_ns, job.options) == (candidate.size, candidate.mtime_ns, options)
    assert job.compare


@pytest.mark.parametrize(
    "state",
    [
        State.UPLOADING, State.SEALED, State.UNCERTAIN, State.SUBMITTED, State.COMPLETED, State.STORED,
        State.RENDERING, State.FAILING, State.CANCELLING,
    ],
)  # fmt: skip
def test_a_change_under_way_waits_for_the_end(bench: Bench, state: State) -> None:
    """What is paid for is brought home first; the scan says to come back."""
    job = bench.bring(bench.new("a"), state)
    result = bench.scan(found("a", 1001))
    assert result.counts == {"deferred": 1}
    assert result.deferred == [job.path]
    assert bench.at("a") == job


def test_finished_recordings_are_handed_back_for_their_outputs(bench: Bench) -> None:
    """Whether the files are still there is looked at by the scan."""
    job = done(bench, "a", b"audio")
    bench.bring(bench.new("b", 7), State.SKIPPED)
    assert bench.scan(found("a"), found("b", 7)).finished == [job]


@pytest.mark.parametrize("cause", Cause)
def test_only_what_costs_nothing_is_tried_again_by_itself(bench: Bench, cause: Cause) -> None:
    """What was not read, and outputs that were not written, cost nothing to try again; the rest needs a person."""
    job = bench.fire(bench.new("a"), Event.UNREADABLE, cause=cause, failures=4)
    counts = bench.scan(found("a")).counts
    again = bench.at("a")
    if cause in (Cause.SOURCE, Cause.OUTPUT):
        assert counts == {"again": 1}
        assert (again.state, again.failures, again.cause) == (State.NEW, 0, None)
    else:
        assert counts == {"known": 1}
        assert again == job


# Copies.


def test_a_recording_of_a_size_of_its_own_is_admitted_unread(bench: Bench) -> None:
    """Nothing is read twice without need."""
    job = bench.examine(bench.new("a"))
    assert (job.state, job.compare, job.digest, job.duration_ms) == (State.WAITING, False, None, 60_000)


def test_two_of_one_size_are_both_compared(bench: Bench) -> None:
    """The first, waiting unread, goes back to be read; the second is read before it is admitted."""
    first = bench.examine(bench.new("a"))
    second = bench.new("b")
    first = bench.job(first.id)
    assert (first.state, first.compare, second.compare) == (State.NEW, True, True)
    first, second = bench.examine(first, b"one"), bench.examine(second, b"two")
    assert (first.state, second.state) == (State.WAITING, State.WAITING)
    assert (first.digest, second.digest) == (digest_of(b"one"), digest_of(b"two"))


def test_a_sibling_found_during_the_examination_is_not_overlooked(bench: Bench) -> None:
    """What was looked at without reading stays new when another of its size came up meanwhile."""
    first = bench.new("a")
    bench.new("b")
    assert bench.examine(first).state is State.NEW
    assert bench.examine(bench.job(first.id), b"one").state is State.WAITING


def test_a_copy_of_a_job_under_way_becomes_its_twin(bench: Bench) -> None:
    """The same audio waits for the one transcript."""
    for state in (State.WAITING, State.UPLOADING, State.SEALED, State.UNCERTAIN, State.SUBMITTED, State.COMPLETED):
        content, size = state.encode(), 2000 + len(bench.rows("SELECT id FROM job"))
        bench.new(f"{state} other", size)
        carrier = bench.bring(bench.examine(bench.new(f"{state} a", size), content), state)
        twin = bench.examine(bench.new(f"{state} b", size), content)
        assert (twin.state, twin.twin_of) == (State.TWIN, carrier.id), state


def test_a_copy_of_what_is_done_is_recognised(bench: Bench) -> None:
    """A new name of known audio gets the transcript at once; nothing is sent."""
    original = done(bench, "a", b"audio")
    copy = bench.examine(bench.new("b"), b"audio")
    assert (copy.state, copy.transcript) == (State.RENDERING, original.transcript)


def test_other_options_are_another_transcript(bench: Bench) -> None:
    """The same audio with other options is sent again, on purpose."""
    done(bench, "a", b"audio")
    bench.scan(found("b"), options=OTHER_OPTIONS)
    job = bench.examine(bench.at("b"), b"audio")
    assert (job.state, job.twin_of) == (State.WAITING, None)


def test_a_touched_recording_is_recognised_by_its_content(bench: Bench) -> None:
    """A new time alone costs one reading, and nothing else."""
    original = done(bench, "a", b"audio")
    bench.scan(found("a", mtime_ns=2))
    job = bench.examine(bench.at("a"), b"audio", mtime_ns=2)
    assert (job.state, job.transcript, job.mtime_ns) == (State.RENDERING, original.transcript, 2)
    assert job.formats == "txt"  # its outputs are its own and may be written over


def test_a_changed_recording_is_sent_again(bench: Bench) -> None:
    """Another content is another audio, whatever stands in the outputs."""
    done(bench, "a", b"audio")
    bench.scan(found("a", mtime_ns=2))
    job = bench.examine(bench.at("a"), b"other", mtime_ns=2)
    assert (job.state, job.transcript) == (State.WAITING, None)


def test_a_copy_waits_while_its_sibling_is_read_for_the_first_time(bench: Bench) -> None:
    """An upload without a digest may be the same audio: its end tells."""
    carrier = sending(bench, "a")
    copy = bench.examine(bench.new("b"), b"audio")
    assert (copy.state, copy.not_before, copy.failures) == (State.NEW, bench.now + LOOK_AGAIN_MS, 0)
    bench.fire(carrier, Event.SEAL, digest=digest_of(b"audio"))
    assert bench.examine(copy, b"audio").twin_of == carrier.id


def test_a_sibling_that_came_back_unread_is_compared(bench: Bench) -> None:
    """An upload that was refused waits again without a digest; the copy's examination sends it to be read."""
    carrier = sending(bench, "a")
    copy = bench.new("b")
    bench.fire(carrier, Event.REFUSED)
    copy = bench.examine(copy, b"audio")
    assert copy.state is State.WAITING
    carrier = bench.job(carrier.id)
    assert (carrier.state, carrier.compare) == (State.NEW, True)
    assert bench.examine(carrier, b"audio").twin_of == copy.id


def test_ended_siblings_do_not_force_a_reading(bench: Bench) -> None:
    """What failed, was cancelled or skipped before anybody knew its content has nothing that could be shared."""
    for number, state in enumerate([State.FAILED, State.CANCELLED, State.SKIPPED]):
        bench.bring(bench.new(f"{number}"), state)
    assert not bench.new("a").compare


def test_a_failed_copy_that_is_tried_again_is_compared_first(bench: Bench) -> None:
    """Meanwhile another name of the same audio may be done."""
    failed = bench.fire(bench.new("a"), Event.UNREADABLE, cause=Cause.SOURCE)
    original = done(bench, "b", b"audio")
    bench.scan(found("a"))
    again = bench.job(failed.id)
    assert again.compare
    assert bench.examine(again, b"audio").transcript == original.transcript


# Examinations.


def test_a_size_that_changed_meanwhile_is_compared_too(bench: Bench) -> None:
    """The size on record was wrong, so its siblings were others."""
    sibling = bench.examine(bench.new("a", 2000))
    job = bench.new("b", 1000)
    job = bench.examine(job, size=2000)
    assert (job.state, job.compare) == (State.NEW, True)
    assert bench.job(sibling.id).state is State.NEW
    job = bench.examine(job, b"audio", size=2000)
    assert (job.state, job.size) == (State.WAITING, 2000)


def test_a_recording_that_is_changing_is_looked_at_again(bench: Bench) -> None:
    """It is no failure, only early."""
    job = bench.examine(bench.new("a"), changing=True, reason="it grows")
    assert (job.state, job.not_before, job.failures) == (State.NEW, bench.now + LOOK_AGAIN_MS, 0)
    assert job.reason == "it grows"


@pytest.mark.parametrize(
    ("verdict", "state", "cause"),
    [
        (Event.UNSUITABLE, State.SKIPPED, Cause.UNSUITABLE),
        (Event.UNREADABLE, State.FAILED, Cause.SOURCE),
    ],
)
def test_a_verdict_is_recorded_with_its_reason(bench: Bench, verdict: Event, state: State, cause: Cause) -> None:
    """What cannot be sent is put aside, and says why."""
    job = bench.examine(bench.new("a"), verdict=verdict, reason="why")
    assert (job.state, job.cause, job.reason) == (state, cause, "why")


def test_an_examination_that_comes_too_late_changes_nothing(bench: Bench) -> None:
    """The job may have been cancelled while somebody looked into its recording."""
    old = bench.new("a")
    cancelled = bench.fire(old, Event.CANCEL)
    assert bench.examine(old) == cancelled
    assert bench.do(lambda ledger: admission.examined(ledger, [])) is None


# Outputs and roots.


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Talk.mp3", "talk.mp3"),
        (normalize("NFC", "Vorträge/é.wav"), normalize("NFD", "Vorträge/é.wav")),
        ("straße.wav", "STRASSE.wav"),
        ("A/x.wav", "a/x.wav"),
    ],
)
def test_names_that_a_file_system_may_confuse_get_different_outputs(bench: Bench, first: str, second: str) -> None:
    """The second one gets a name beside the first's, decided by its path alone."""
    bench.new(first)
    output = bench.new(second, 2000).output
    assert bench.at(first).output == first
    stem, ending = second.rsplit(".", 1)
    assert output.startswith(f"{stem}~")
    assert output.endswith(f".{ending}")
    with open_bench() as other:
        other.new(first)
        assert other.new(second, 3000).output == output


def test_one_output_wished_by_two_roots_goes_to_the_first(bench: Bench) -> None:
    """Two paths with one name, and a third: three outputs."""
    same = [replace(found("x.wav"), path=path) for path in (b"/1/x.wav", b"/2/x.wav", b"/3/x.wav")]
    bench.scan(*same)
    outputs = {output for (output,) in bench.rows("SELECT output FROM job")}
    assert "x.wav" in outputs
    assert len(outputs) == 3


def test_an_output_keeps_its_name_for_ever(bench: Bench) -> None:
    """A change of the recording does not move its transcript."""
    bench.new("Talk.mp3")
    output = bench.new("talk.mp3", 2000).output
    bench.scan(found("talk.mp3", 2001))
    assert bench.at("talk.mp3").output == output


def roots(bench: Bench, *paths: bytes) -> dict[bytes, str]:
    """Return the folders of some roots."""
    return bench.do(lambda ledger: admission.roots(ledger, list(paths), lambda path: path.decode().rpartition("/")[2]))


def test_a_single_input_is_mirrored_at_the_top(bench: Bench) -> None:
    """OUT then looks like the input."""
    assert roots(bench, b"/a/in") == {b"/a/in": ""}
    assert roots(bench, b"/a/in") == {b"/a/in": ""}


def test_several_inputs_get_folders_of_their_names(bench: Bench) -> None:
    """Two of one name are told apart, the same way every time."""
    first = roots(bench, b"/a/in", b"/b/in", b"/c/other")
    assert first[b"/a/in"] == "in"
    assert first[b"/b/in"].startswith("in~")
    assert first[b"/c/other"] == "other"
    with open_bench() as again:
        assert roots(again, b"/a/in", b"/b/in", b"/c/other") == first


def test_a_later_input_moves_no_earlier_one(bench: Bench) -> None:
    """What was mirrored somewhere stays there; the newcomer gets a folder."""
    roots(bench, b"/a/in")
    assert roots(bench, b"/b/in", b"/a/in") == {b"/b/in": "in", b"/a/in": ""}
    assert roots(bench, b"/b/in") == {b"/b/in": "in"}


def test_an_input_without_a_name_gets_one(bench: Bench) -> None:
    """The root of the file system has none of its own."""
    assert roots(bench, b"/a", b"/")[b"/"].startswith("~")


def test_many_recordings_of_one_size_cost_no_more_each(bench: Bench) -> None:
    """What one more recording of a common size costs does not depend on how many there are."""
    steps: list[int] = []
    for round_ in range(3):
        steps.append(0)
        bench.conn.set_progress_handler(lambda: steps.__setitem__(-1, steps[-1] + 1), 100)
        bench.scan(*(found(f"{round_}-{number}") for number in range(500)))
        bench.conn.set_progress_handler(None, 0)
    assert steps[2] < 1.5 * steps[0] + 100
