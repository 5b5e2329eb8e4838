"""How many recordings are sent at the same time: as many as make it faster, and no more.

More uploads at once help where each waits for answers most of the time, and do nothing but cost memory where the line
is full. Which it is shows only when it is tried, so other numbers are tried now and then, for some seconds, and kept
if they are worth it. What is measured counts only while all places are taken: otherwise there was not more to send.

Times are seconds by any clock that goes forward.
"""

from dataclasses import dataclass

AUTO = "auto"
FIRST = 8
MOST = 64
LEAST_BY_CHOICE = 2  #: while one upload waits for its answer another one fills the line

SETTLE_SECONDS = 1.0  #: after a change, until buffers are filled or emptied
WINDOW_SECONDS = 3.0  #: for so long a number is measured
FIRST_STEP, STEP = 2.0, 1.5  #: the next number tried is larger or smaller by this; at first nothing is known
GAIN = 1.05  #: worth more uploads at once
LOSS = 0.97  #: not worth fewer
WINDOWS_FOR_FEWER = 2  #: fewer have to prove themselves so often: one too many costs memory, one too few the night
SURGE = 1.5  #: by so much more than before: something has changed, and other numbers may be worth it now
FADING = 0.9995  #: of the best rate seen, with each window: the line may have become slower for good
SMOOTHING = 0.3  #: how much the latest window counts for the rate of the number that is kept
HOLD, LONGEST_HOLD = 2, 64  #: windows until another number is tried; twice as many after each that was not kept

FAILURES, SHARE_OF_FAILURES = 2, 0.25  #: so many, and so many of what ended, are too much for the line
WARY, LONGEST_WARY = 16, 512  #: windows until what was too much is tried again; twice as many each time that it is

#: An upload counts as much as so many bytes: what holds up recordings that are smaller is waiting for answers.
UPLOAD_BYTES = 128 * 1024


def parse_concurrency(value: object) -> object:
    """Return the number for what a setting says, and 0 for `AUTO`. Raises ValueError with words for a person."""
    if value == AUTO:
        return 0
    if isinstance(value, str) and not value.strip().isdecimal():
        raise ValueError(f"must be a number like {FIRST}, or {AUTO}")
    return value


@dataclass(slots=True)
class _Window:
    """What was sent while all places were taken."""

    seconds: float = -SETTLE_SECONDS
    bytes: int = 0
    uploads: int = 0
    failures: int = 0

    @property
    def rate(self) -> float:
        return (self.bytes + self.uploads * UPLOAD_BYTES) / self.seconds

    @property
    def fails(self) -> bool:
        return self.failures >= max(FAILURES, SHARE_OF_FAILURES * (self.uploads + self.failures))


class Concurrency:
    """The number of places for uploads; give one number three times to fix it.

    Args:
        first: how many there are in the beginning.
        least: how few there may be when uploads fail.
        most: how many there may ever be.
    """

    def __init__(self, first: int = FIRST, least: int = 1, most: int = MOST) -> None:
        self._least, self._most = least, most
        self._places = self._kept = first
        self._rate: float | None = None  #: of the number that is kept
        self._best = 0.0
        self._hold = self._left = HOLD
        self._step = FIRST_STEP
        self._upwards = True  #: where the next trial goes
        self._proofs = 0  #: windows in which the trial was worth it
        self._ceiling = most  #: more than this was too much a while ago
        self._wary, self._wary_left = WARY, 0
        self._window = _Window()
        self._full_since: float | None = None
        self._epoch = 0

    def observe(self, now: float, sending: int, allowed: int, *, short: bool = False) -> int:
        """Return how many may be sent at once.

        Args:
            now: the moment.
            sending: how many are being sent at this moment.
            allowed: how many may ever be, whatever is measured.
            short: there was nothing more to send.
        """
        self._advance(now)
        if self._window.seconds >= WINDOW_SECONDS:
            self._judge(self._window.rate)
            self._window = _Window()
        places = max(1, min(self._places, allowed))
        full = sending == places or (self._full_since is not None and sending < places and not short)
        self._full_since = now if full else None
        return places

    def passed(self, now: float, count: int) -> None:
        """Take note of bytes that were sent."""
        if self._advance(now):
            self._window.bytes += count

    def begin(self) -> int:
        """Return what an upload that begins now is to say when it ends."""
        return self._epoch

    def ended(self, now: float, epoch: int, *, failed: bool) -> None:
        """Take note of an upload's end. One that began before the places became fewer tells nothing of these."""
        counts = self._advance(now)
        if failed and epoch == self._epoch:
            self._window.failures += 1
            if self._window.fails:
                self._too_many()
        elif counts and not failed:
            self._window.uploads += 1

    def _advance(self, now: float) -> bool:
        """Let time pass; tell whether what happens now counts."""
        if self._full_since is None:
            return False
        self._window.seconds += now - self._full_since
        self._full_since = now
        return self._window.seconds >= 0

    def _too_many(self) -> None:
        """Go back to what was kept, or halve that, and be slow to try as many again."""
        if self._places > self._kept:
            self._ceiling = max(self._kept, (self._kept + self._places) // 2)
        else:
            self._ceiling = max(self._least, self._kept - 1)
            self._kept = max(self._least, self._kept // 2)
            self._rate, self._best = None, 0.0
        self._wary_left = self._wary
        self._wary = min(LONGEST_WARY, 2 * self._wary)
        self._go_back()
        self._window = _Window()

    def _judge(self, rate: float) -> None:
        """Decide by what a window showed of the present number."""
        self._wary_left -= 1
        if self._wary_left <= 0:
            self._ceiling = self._most
        if self._places == self._kept:
            self._remember(rate)
            self._left -= 1
            if self._left <= 0:
                self._try()
        elif not self._worth_it(rate):
            self._upwards = not self._upwards
            self._go_back()
        elif self._places > self._kept or self._proofs + 1 == WINDOWS_FOR_FEWER:
            self._keep(rate)
        else:
            self._proofs += 1

    def _keep(self, rate: float) -> None:
        """Take over the number that was tried, and try the next one."""
        self._kept, self._rate = self._places, rate
        self._best = max(self._best, rate)
        self._hold = HOLD
        self._try()

    def _go_back(self) -> None:
        """Return to the number that was kept."""
        self._epoch += 1
        self._step = STEP
        self._places = self._kept
        self._left = self._hold
        self._hold = min(LONGEST_HOLD, 2 * self._hold)

    def _remember(self, rate: float) -> None:
        known = self._rate
        if known is None or rate > SURGE * known:
            self._rate, self._left, self._upwards = rate, 1, True
        else:
            self._rate = known + SMOOTHING * (rate - known)
        self._best = max(FADING * self._best, self._rate)

    def _worth_it(self, rate: float) -> bool:
        if self._places > self._kept:
            return rate >= GAIN * (self._rate or 0.0)
        return rate >= LOSS * self._best

    def _try(self) -> None:
        """Try the next number in the direction of the latest success; where there is none, later the other one."""
        self._proofs = 0
        self._places = self._next()
        if self._places == self._kept:
            self._upwards = not self._upwards
            self._step = STEP
            self._left = self._hold

    def _next(self) -> int:
        if self._upwards:
            return max(self._kept, min(self._ceiling, max(self._kept + 1, round(self._kept * self._step))))
        return min(self._kept, max(self._least, LEAST_BY_CHOICE, int(self._kept / self._step)))
