"""Progress: what a run's moves and counts amount to, and how the views show it."""

import io
import json
from dataclasses import replace

import pytest

from batcher.cli import words
from batcher.cli.closing import grouped
from batcher.cli.meter import Meter, Snapshot, why_waiting
from batcher.cli.views import JsonView, NoView, PlainView, fold, live_lines
from batcher.engine import Pulse
from batcher.model import Limits, Load
from batcher.states import Event, State
from batcher.store.reader import Counts, Ended, Sum
from batcher.store.table import Move

START = 1_700_000_000_000
MB = 1_000_000
PULSE = Pulse(
    why_waiting="",
    reachable=True,
    heard=False,
    trouble="",
    refusal="",
    slowed="",
    lacking="",
    in_vain=False,
    foreign=Load(),
    limits=Limits(files=10, bytes=10 * MB),
    not_shown=0,
    lingering=False,
    draining=False,
    scanned=True,
)


NOT_SHOWN = (
    "5 recordings that the service accepted are not in its list; it is asked for a while before they count as lost"
)


def counts(**jobs: int) -> Counts:
    """Return counts by state, every recording a megabyte."""
    return Counts({State(name): Sum(number, number * MB, 0) for name, number in jobs.items()})


def move(job: int, source: State, event: Event, target: State, detail: str | None = None) -> Move:
    """Return a move of a recording with an unpleasant name."""
    return Move(job, b"/in/a\x1b[31m[bold].wav", source, event, target, 1, START, detail)


def snapshot(found: Counts, pulse: Pulse | None = PULSE, seconds: int = 60) -> Snapshot:
    """Return what there is to show a while after the start."""
    return Meter(START).snapshot(START + seconds * 1000, found, pulse)


def test_done_before_is_kept_apart_from_done_now() -> None:
    """What is rendered again was done before; what is transcribed now is not."""
    meter = Meter(START)
    meter.moved(move(1, State.STORED, Event.CLEARED, State.DONE))
    meter.moved(move(2, State.DONE, Event.RENDER, State.RENDERING))
    meter.moved(move(2, State.RENDERING, Event.WRITTEN, State.DONE))
    shown = meter.snapshot(START + 1, counts(done=5), PULSE)
    assert (shown.now.done, shown.done_before) == (1, 4)


def test_a_failure_that_is_tried_again_is_no_failure_of_this_run() -> None:
    """Only what is failed at the end counts."""
    meter = Meter(START)
    meter.moved(move(1, State.UPLOADING, Event.REJECTED, State.FAILED))
    meter.moved(move(2, State.UPLOADING, Event.REJECTED, State.FAILED))
    meter.moved(move(1, State.FAILED, Event.RETRY, State.NEW))
    assert meter.now().failed == 1


def test_the_eta_follows_the_bytes_that_were_done_now_not_those_before() -> None:
    """A thousand recordings of last night do not make this night look fast."""
    meter = Meter(START)
    meter.sample(START, counts(done=1000, waiting=100))
    for job in range(10):
        meter.moved(move(job, State.STORED, Event.CLEARED, State.DONE))
    shown = meter.snapshot(START + 10_000, counts(done=1010, waiting=90), PULSE)
    assert shown.eta == pytest.approx(90)


def test_there_is_no_eta_before_it_would_be_more_than_a_guess() -> None:
    """Neither with two recordings done, nor while the inputs are still being looked through."""
    meter = Meter(START)
    meter.sample(START, counts(waiting=100))
    for job in range(2):
        meter.moved(move(job, State.STORED, Event.CLEARED, State.DONE))
    assert meter.snapshot(START + 10_000, counts(done=2, waiting=98), PULSE).eta is None
    meter.moved(move(3, State.STORED, Event.CLEARED, State.DONE))
    scanning = replace(PULSE, scanned=False)
    assert meter.snapshot(START + 20_000, counts(done=3, waiting=97), scanning).eta is None
    assert meter.snapshot(START + 20_000, counts(done=3, waiting=97), PULSE).eta is not None


def test_the_upload_rate_is_that_of_the_latest_seconds() -> None:
    """It falls to nothing when nothing is sent any more."""
    meter = Meter(START)
    for second in range(1, 11):
        meter.sent(MB)
        meter.sample(START + second * 1000, counts())
    assert meter.snapshot(START + 10_000, counts(), PULSE).rate == pytest.approx(MB)
    for second in range(11, 60):
        meter.sample(START + second * 1000, counts())
    assert meter.snapshot(START + 60_000, counts(), PULSE).rate == 0


@pytest.mark.parametrize(
    ("found", "changed", "reason"),
    [
        (counts(waiting=1), {"reachable": False, "trouble": "refused"}, "the service does not answer: refused"),
        (
            counts(waiting=1),
            {"reachable": False, "heard": True, "trouble": "429: slower"},
            "the service does not list what it holds: 429: slower",
        ),
        (counts(waiting=5, submitted=100), {"lacking": "pending"}, "100/100 pending at the service"),
        (
            counts(waiting=5, submitted=40),
            {"lacking": "pending", "foreign": Load(60, 60)},
            "100/100 pending at the service (60 of other clients)",
        ),
        (
            counts(waiting=5, submitted=6),
            {"lacking": "pending"},
            "6/100 pending at the service; the rest is kept free for other clients",
        ),
        (
            counts(waiting=5, submitted=6),
            {"lacking": "pending", "refusal": "429: no more"},
            "the service refuses more: 429: no more (6/100 pending at the service as far as is known)",
        ),
        (counts(waiting=5, uploading=3), {"slowed": "for its turn"}, "for its turn"),
        (counts(waiting=5, stored=2000), {"lacking": "stored"}, "2,000/2,000 stored at the service"),
        (counts(waiting=5, stored=9), {"lacking": "files"}, "9/10 files stored at the service"),
        (counts(waiting=5, stored=9), {"lacking": "bytes"}, "9.0 MB/10.0 MB of recordings stored at the service"),
        (counts(waiting=5), {"why_waiting": "too little disk space left here"}, "too little disk space left here"),
        (counts(waiting=5, uploading=3), {"why_waiting": "too little disk space left here"}, ""),
        (counts(submitted=5), {"lacking": "pending"}, ""),
        (
            counts(submitted=100, waiting=3),
            {"lacking": "pending", "not_shown": 5},
            "100/100 pending at the service; " + NOT_SHOWN,
        ),
        (counts(submitted=5, uploading=1, waiting=1), {"not_shown": 5}, ""),
        (
            counts(submitted=5, waiting=1),
            {"not_shown": 5, "why_waiting": "too little disk space left here"},
            "too little disk space left here",
        ),
        (
            counts(submitted=1),
            {"not_shown": 1},
            "1 recording that the service accepted is not in its list; it is asked for a while before it counts as lost",
        ),
        (counts(), {"scanned": False}, "looking through the inputs"),
        (counts(uncertain=2, done=1), {}, "2 answers were lost; looking at the service before sending again"),
        (
            counts(stored=2, failing=1, done=1),
            {},
            "writing outputs, and deleting what is left of 3 recordings at the service",
        ),
        (counts(stored=2, submitted=1), {}, ""),
        (
            counts(completed=2, submitted=1),
            {"in_vain": True},
            "asking the service whether it answers: what is to be fetched or deleted does not get there",
        ),
        (
            counts(done=2),
            {"lingering": True},
            "one last look: audio of an upload that failed may still show up at the service",
        ),
        (counts(sealed=2), {"draining": True}, "for 2 answers to what was sent, then it stops"),
        (counts(sealed=1), {"draining": True}, "for 1 answer to what was sent, then it stops"),
        (counts(done=1), {"draining": True}, ""),
    ],
)
def test_the_reason_for_waiting_is_the_one_that_holds(found: Counts, changed: dict[str, object], reason: str) -> None:
    """And there is none while something is being sent, or when nothing is left to send."""
    assert why_waiting(found, replace(PULSE, **changed)) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [20, 40, 60, 79, 120])
def test_the_live_view_fits_its_terminal(width: int) -> None:
    """No line is longer, however narrow; every fact is there on eighty columns."""
    pulse = replace(PULSE, reachable=False, trouble="x\x1b[2J" * 30, foreign=Load(12, 40))
    found = counts(done=12345, waiting=54321, submitted=88, failed=7, uploading=16)
    head, lines = live_lines(snapshot(found, pulse), width)
    assert all(len(line) <= width for line in [*lines, "".join(head)])
    assert not any("\x1b" in line for line in lines)
    if width > 60:
        text = "\n".join(["".join(head), *lines])
        for fact in ("12,352/66,777 files", "failed 7", "pending 104+12/100", "stored 104+40/2,000"):
            assert fact in text


def test_cells_are_folded_whole() -> None:
    """Only a cell that is longer than a line is cut."""
    assert fold(["aaaa", "bbbb", "cccc"], 11) == ["aaaa   bbbb", "cccc"]
    assert fold(["aaaa", "b" * 30], 11) == ["aaaa", "b" * 11]


def test_the_plain_view_says_one_line_and_one_for_each_failure() -> None:
    """Without escape codes, whatever a name or a message holds."""
    out = io.StringIO()
    view = PlainView(out)
    view.show(snapshot(counts(done=2, waiting=3)))
    view.moved(move(1, State.STORED, Event.CLEARED, State.DONE))
    view.moved(move(2, State.UPLOADING, Event.REJECTED, State.FAILED, "no\nway\x07"))
    first, second = out.getvalue().splitlines()
    assert "2/5 files, done 2 (0 now, 2 before), failed 0" in first
    assert second == r"failed: /in/a\x1b[31m[bold].wav: no\nway\x07"


def test_a_limit_of_bandwidth_is_shown_while_it_binds() -> None:
    """Whoever looks why uploads are slow sees that it was asked for; a limit that is not reached is not shown."""
    found, out = counts(uploading=2, waiting=3), io.StringIO()
    for bwlimit in (512_000, None):
        pulse = replace(PULSE, bwlimit=bwlimit)
        PlainView(out).show(snapshot(found, pulse))
        JsonView(out).show(snapshot(found, pulse))
        out.write("\n".join(live_lines(snapshot(found, pulse), 79)[1]) + "\n")
    plain, status, _, live, free, free_status, _, free_live, *_ = out.getvalue().splitlines()
    assert "up 0 B/s (bwlimit 512.0 kB/s)" in plain
    assert "uploading 2 at 0 B/s (bwlimit 512.0 kB/s)" in live
    assert json.loads(status)["bwlimit"] == 512_000
    assert "bwlimit" not in free + free_live
    assert json.loads(free_status)["bwlimit"] is None


def test_the_json_view_tells_public_changes_only() -> None:
    """`sealed` is as public as `uploading`; a failure is an error event as well."""
    out = io.StringIO()
    view = JsonView(out)
    view.moved(move(1, State.UPLOADING, Event.SEAL, State.SEALED))
    view.moved(move(1, State.UPLOADING, Event.REJECTED, State.FAILED, "no"))
    view.show(snapshot(counts(done=1), None))
    job, error, status = map(json.loads, out.getvalue().splitlines())
    assert (job["event"], job["from"], job["to"], job["path"]) == (
        "job",
        "uploading",
        "failed",
        "/in/a\x1b[31m[bold].wav",
    )
    assert (error["event"], error["reason"]) == ("error", "no")
    assert (status["event"], status["files"], status["at"]) == ("status", 1, "2023-11-14T22:14:20.000Z")


def test_the_view_none_is_silent_but_for_notes() -> None:
    """A person who stops a run is answered."""
    out = io.StringIO()
    view = NoView(out)
    view.show(snapshot(counts(done=1)))
    view.moved(move(1, State.UPLOADING, Event.REJECTED, State.FAILED, "no"))
    view.note("Stopping")
    assert out.getvalue() == "Stopping\n"


def test_failures_are_grouped_by_reason_with_numbers_set_aside() -> None:
    """The largest group comes first."""
    reasons = ["too big: 612 MB", "it vanished", "too big: 1,004 MB"]
    ended = [Ended(number, b"/x", "unsuitable", reason) for number, reason in enumerate(reasons)]
    assert [(group.reason, len(group.jobs)) for group in grouped(ended)] == [("too big: 612 MB", 2), ("it vanished", 1)]


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        (b"/in/plain.wav", "/in/plain.wav"),
        (b"/in/it's a talk.wav", "'/in/it'\"'\"'s a talk.wav'"),
        ("/in/café.wav".encode(), "/in/café.wav"),
        (b"/in/a\nb.wav", None),
        ("/in/\u202egnp.wav".encode(), None),
        (b"/in/\xff.wav", None),
    ],
)
def test_a_name_is_quoted_for_the_shell_or_not_offered_at_all(path: bytes, typed: str | None) -> None:
    """What nobody can type is named by its id."""
    got = words.typeable(path)
    assert (got is None) == (typed is None)
    assert typed is None or got in (typed, f"'{typed}'")


def test_numbers_are_spelled_for_people() -> None:
    """Sizes in powers of ten, times by the clock, lengths of time roughly."""
    assert (words.size(999), words.size(12_100_000), words.size(2e12)) == ("999 B", "12.1 MB", "2.0 TB")
    assert (words.span(12), words.span(723), words.span(9660)) == ("0:12", "12:03", "2:41:00")
    assert (words.ago(90_000), words.ago(7_200_000), words.ago(-5)) == ("1 minute", "2 hours", "0 seconds")
