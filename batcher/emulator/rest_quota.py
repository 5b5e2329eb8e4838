"""The four quotas of the REST API, and its request budgets."""

from collections import defaultdict, deque

from batcher.emulator import rest_refusals as refuse
from batcher.emulator.knobs import Load, RestKnobs
from batcher.emulator.rest_refusals import Bucket
from batcher.emulator.tally import RestTally
from batcher.model import Limits

MINUTE_MS = 60_000
_THINGS = {"transcriptions": "stored"}  #: what the model calls otherwise

_TRANSCRIPTIONS = "Total transcription count limit for your organization has been exceeded. Please delete some."
_FILES = "Total file count limit has been exceeded for your organization. Please delete some."


class Quota:
    """Refuses what the account has no room for, counting everybody of the organisation."""

    def __init__(self, limits: Limits, knobs: RestKnobs, tally: RestTally, *, refuses: bool = True) -> None:
        self.limits = limits
        self.refuses = refuses  #: False: everything is only counted
        self._knobs = knobs
        self._tally = tally

    def check_file(self, held: Load, size: int = 0) -> None:
        """Raise RestRefusal when one more file of so many bytes is too much."""
        limits = self.limits
        self._check("files", held.files, limits.files, _FILES)
        self._check("bytes", held.bytes, limits.bytes, self._knobs.bytes_text, more=max(size, 1))

    def check_transcription(self, held: Load) -> None:
        """Raise RestRefusal when one more transcription is too much."""
        limits = self.limits
        self._check("transcriptions", held.transcriptions, limits.stored, _TRANSCRIPTIONS)
        self._check("pending", held.pending, limits.pending, self._knobs.pending_text)

    def _check(self, reason: str, count: int, limit: int | None, message: str, *, more: int = 1) -> None:
        if self.refuses and limit is not None and count + more > limit:
            self._tally.refused_full(_THINGS.get(reason, reason), more)
            self._tally.reasons[reason] += 1
            raise refuse.full(reason, message)


class Budgets:
    """Counts the requests of the last minute, bucket by bucket. A refused request does not count."""

    def __init__(self, tally: RestTally) -> None:
        self._spent: dict[Bucket, deque[int]] = defaultdict(deque)
        self._tally = tally

    def spend(self, bucket: Bucket, limit: int, now: int) -> None:
        """Count one request of `bucket`. Raises RestRefusal when there were `limit` in the minute before `now`."""
        spent = self._spent[bucket]
        while spent and spent[0] <= now - MINUTE_MS:
            spent.popleft()
        if limit and len(spent) >= limit:
            self._tally.reasons["requests"] += 1
            raise refuse.too_many_requests(bucket)
        spent.append(now)

    def wait_ms(self, bucket: Bucket, now: int) -> int:
        """Return after how long the oldest request of a full bucket is forgotten."""
        spent = self._spent[bucket]
        return max(spent[0] + MINUTE_MS - now, 0) if spent else 0
