"""What a run's progress amounts to: pure arithmetic on counts, moves and bytes, no I/O."""

from collections import Counter, deque
from dataclasses import dataclass

from batcher.cli import words
from batcher.cli.quotas import why_full
from batcher.engine import Pulse
from batcher.states import Event, State
from batcher.store.reader import Counts
from batcher.store.table import Move

#: The upload rate is that of the latest seconds, the ETA follows the latest half hour: a calm number.
RATE_MS = 20_000
ETA_MS = 1_800_000
SAMPLE_MS = 1_000
#: Before so much was seen, an ETA would be a guess.
ETA_LEAST_MS = 5_000
ETA_LEAST_JOBS = 3


@dataclass(frozen=True, slots=True)
class Now:
    """What this run did, as opposed to earlier ones."""

    done: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a view shows, at one moment."""

    at: int  #: UTC milliseconds
    elapsed: float  #: seconds
    counts: Counts
    now: Now
    rate: float  #: bytes sent a second
    eta: float | None  #: seconds
    pulse: Pulse | None
    waiting: str  #: why nothing more is sent at the moment, or nothing

    @property
    def done_before(self) -> int:
        """Return how many were done by earlier runs."""
        return max(0, self.counts.of([State.DONE]).jobs - self.now.done)

    @property
    def ended(self) -> int:
        """Return how many recordings are over, whatever became of them."""
        return self.counts.total.jobs - self.counts.unfinished.jobs


class Meter:
    """Follows one run. Times are UTC milliseconds, given by the caller."""

    def __init__(self, start: int) -> None:
        self.deletions = 0  #: objects deleted at the service
        self.events: Counter[Event] = Counter()
        self._start = start
        self._ended: dict[State, set[int]] = {state: set() for state in (State.FAILED, State.SKIPPED)}
        self._done = 0
        self._again: set[int] = set()
        self._sent = 0
        self._sent_samples: deque[tuple[int, int]] = deque([(start, 0)])
        self._work_samples: deque[tuple[int, int]] = deque()

    def sent(self, amount: int) -> None:
        """Take note of bytes that went out."""
        self._sent += amount

    def moved(self, move: Move) -> None:
        """Take note of a committed move."""
        self.events[move.event] += 1
        if move.source in self._ended:
            self._ended[move.source].discard(move.job)
        if move.target in self._ended:
            self._ended[move.target].add(move.job)
        if move.event is Event.RENDER:
            self._again.add(move.job)  # its outputs are made again; it was done before
        elif move.target is State.DONE and move.job in self._again:
            self._again.discard(move.job)
        elif move.target is State.DONE:
            self._done += 1

    def now(self) -> Now:
        """Return what this run did so far."""
        return Now(self._done, len(self._ended[State.FAILED]), len(self._ended[State.SKIPPED]))

    def sample(self, at: int, counts: Counts) -> None:
        """Take note of how far the run is at `at`, for the rates."""
        _sample(self._sent_samples, at, self._sent, RATE_MS)
        _sample(self._work_samples, at, counts.of([State.DONE]).bytes, ETA_MS)

    def snapshot(self, at: int, counts: Counts, pulse: Pulse | None) -> Snapshot:
        """Return what there is to show at `at`."""
        self.sample(at, counts)
        return Snapshot(
            at=at,
            elapsed=(at - self._start) / 1000,
            counts=counts,
            now=self.now(),
            rate=_slope(self._sent_samples, at, self._sent),
            eta=self._eta(at, counts, pulse),
            pulse=pulse,
            waiting=why_waiting(counts, pulse),
        )

    def _eta(self, at: int, counts: Counts, pulse: Pulse | None) -> float | None:
        """Return the seconds left if the latest half hour goes on like this, by bytes of finished recordings."""
        known = pulse is not None and pulse.scanned and not pulse.draining and self._done >= ETA_LEAST_JOBS
        if not known or at - self._work_samples[0][0] < ETA_LEAST_MS:
            return None
        rate = _slope(self._work_samples, at, counts.of([State.DONE]).bytes)
        return counts.unfinished.bytes / rate if rate > 0 else None


def _sample(samples: deque[tuple[int, int]], at: int, value: int, window: int) -> None:
    if not samples or at - samples[-1][0] >= SAMPLE_MS:
        samples.append((at, value))
    while len(samples) > 2 and at - samples[0][0] > window:  # noqa: PLR2004 - a slope needs two points
        samples.popleft()


def _slope(samples: deque[tuple[int, int]], at: int, value: int) -> float:
    """Return the growth a second since the oldest sample; never negative."""
    since, first = samples[0]
    return max(0.0, (value - first) * 1000 / (at - since)) if at > since else 0.0


#: States in which nothing is missing but outputs and deletions.
TO_CLEAR = (State.STORED, State.FAILING, State.CANCELLING)


def why_waiting(counts: Counts, pulse: Pulse | None) -> str:
    """Return the reason why nothing more is being sent, in a few words; nothing when there is none."""
    if pulse is None:
        return "starting"
    if pulse.draining:
        sealed = counts.of([State.SEALED]).jobs
        return f"for {words.count(sealed, 'answer')} to what was sent, then it stops" if sealed else ""
    if not pulse.reachable:
        what = "does not list what it holds" if pulse.heard else "does not answer"
        return f"the service {what}{_because(pulse.trouble)}"
    if counts.of([State.WAITING]).jobs:
        return _why_not_sent(counts, pulse)
    return _why_not_over(counts, pulse) if pulse.scanned else "looking through the inputs"


def _not_shown(number: int) -> str:
    if not number:
        return ""
    verb, one = ("is", "it counts") if number == 1 else ("are", "they count")
    what = f"{words.count(number, 'recording')} that the service accepted {verb} not in its list"
    return f"{what}; it is asked for a while before {one} as lost"


def _why_not_sent(counts: Counts, pulse: Pulse) -> str:
    if pulse.lacking:
        return "; ".join(filter(None, (why_full(counts, pulse), _not_shown(pulse.not_shown))))
    return pulse.slowed or ("" if counts.of([State.UPLOADING]).jobs else pulse.why_waiting)


def _why_not_over(counts: Counts, pulse: Pulse) -> str:
    if pulse.lingering:
        return "one last look: audio of an upload that failed may still show up at the service"
    if pulse.in_vain:
        return "asking the service whether it answers: what is to be fetched or deleted does not get there"
    lost, ending = counts.of([State.UNCERTAIN]).jobs, counts.of(TO_CLEAR).jobs
    if lost and lost == counts.unfinished.jobs:
        verb = "was" if lost == 1 else "were"
        return f"{words.count(lost, 'answer')} {verb} lost; looking at the service before sending again"
    if ending and ending == counts.unfinished.jobs:
        return f"writing outputs, and deleting what is left of {words.count(ending, 'recording')} at the service"
    return _not_shown(pulse.not_shown)


def _because(trouble: str) -> str:
    return f": {trouble}" if trouble else ""
