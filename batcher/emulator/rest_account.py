"""One account at the imitated REST API: files, transcriptions, the quotas over both, what was paid for."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from batcher.clock import Clock, Dice
from batcher.emulator import rest_refusals as refuse
from batcher.emulator.knobs import REST_MAX_BYTES, Knobs, Load
from batcher.emulator.objects import EMPTY, Audio, Failure, Intake, Item, Outcome, Recognizer, Refusal
from batcher.emulator.rest_bodies import CreateTranscription
from batcher.emulator.rest_checks import check_model, check_money, check_permission, check_upload
from batcher.emulator.rest_models import CURRENT
from batcher.emulator.rest_objects import Paid, RestFile, RestJob, Seen
from batcher.emulator.rest_quota import Budgets, Quota
from batcher.emulator.rest_refusals import Bucket, Exhausted, Invalid, Kind
from batcher.emulator.rest_store import RestStore
from batcher.emulator.shelf import Shelf
from batcher.emulator.tally import Call, RestTally, noted
from batcher.model import Limits, RemoteStatus, Transcript

RestObserver = Callable[["RestAccount", str, RestFile | RestJob], None]
"""Hears of every change of an object, at the instant: ``accepted``, ``ended``, ``notified`` (each try to call its
webhook), ``deleted``, ``vanished``."""

T = TypeVar("T", bound=Item)


class RestUpload:
    """An upload under way. Left without `accept`, its bytes come to nothing."""

    def __init__(self, account: "RestAccount", intake: Intake, most: int) -> None:
        self._account, self._intake, self._most = account, intake, most
        self._over = False

    def add(self, chunk: bytes) -> None:
        """Take the next bytes. Raises RestRefusal when they are too many."""
        self._intake.add(chunk)
        if self._intake.size > self._most:
            raise refuse.invalid(Invalid("file.file", f"The file exceeds {self._most} bytes."))

    def accept(self, filename: str, reference: str, *, hidden_ms: int = 0) -> RestFile:
        """Store what was uploaded. Raises RestRefusal. See `RestAccount.accept`."""
        self._over = True
        return self._account.accept(filename, reference, self._intake.audio(), hidden_ms=hidden_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._over:
            self._account.abandon(self._intake.audio())


class RestAccount:
    """The REST objects of one key. Every verb looks at the clock first, so nothing has to run in between.

    The first part is what clients do, the second what a test or an operator may do to the account while it
    runs. `limits`, `revoked`, `exhausted`, `balance`, `forbidden`, `siblings` and `playground` may simply be
    assigned, the numbers in `job_errors` too.
    """

    def __init__(
        self,
        name: str,
        knobs: Knobs,
        *,
        clock: Clock,
        recognizer: Recognizer,
        dice: Dice,
        elsewhere: bool = False,
        unpermitted: bool = False,
        observers: Sequence[RestObserver] = (),
    ) -> None:
        self.name = name
        self.knobs = knobs
        self.revoked = elsewhere  #: the key is not good here: revoked, or of another region
        #: What the key has no permission for.
        self.forbidden = frozenset(Bucket) - {Bucket.MODELS} if unpermitted else frozenset[Bucket]()
        self.exhausted: Exhausted | None = None
        self.balance = knobs.rest.balance  #: how many transcriptions the money still pays for; None: any number
        self.siblings = knobs.rest.siblings
        self.playground = knobs.rest.playground
        self.tally = RestTally(deque(maxlen=knobs.trace))
        self.requests: Counter[Bucket] = Counter()  #: those refused too
        self._observers = observers
        limits = Limits(knobs.pending, knobs.stored, knobs.rest.files, knobs.rest.bytes)
        self._quota = Quota(limits, knobs.rest, self.tally, refuses=knobs.refuse_full)
        self._budgets = Budgets(self.tally)
        self._store = RestStore(knobs, clock=clock, recognizer=recognizer, dice=dice, tally=self.tally, tell=self._tell)
        self._files, self._jobs = self._store.files, self._store.jobs
        self.job_errors = self._store.job_errors  #: how many of the next transcriptions end with which error
        self.intake = self._store.intake

    # What clients do.

    def begin(self, endpoint: str, bucket: Bucket) -> None:
        """Count a request. Raises RestRefusal without the permission, or when there were too many of its bucket."""
        now = self.advance()
        self.tally.requests[endpoint] += 1
        self.requests[bucket] += 1
        try:
            check_permission(bucket, self.forbidden)
            self._budgets.spend(bucket, self.knobs.rest.requests_per_minute, now)
        except Refusal as refusal:
            self.tally.refusals[refusal.code] += 1
            raise

    def retry_after_ms(self, bucket: Bucket) -> int:
        """Return when a request of `bucket` will be welcome again."""
        return self._budgets.wait_ms(bucket, self.advance())

    def upload(self) -> RestUpload:
        """Begin an upload: check what can be checked before its bytes. Raises RestRefusal."""
        self.advance()
        with noted(self.tally, Call.UPLOAD, "", also_success=False):
            if not self.knobs.refuse_after_bytes:
                self._quota.check_file(self._holding())
        most = REST_MAX_BYTES if self.knobs.max_bytes is None else self.knobs.max_bytes
        return RestUpload(self, self.intake(), most)

    def accept(self, filename: str, reference: str, audio: Audio, *, hidden_ms: int = 0) -> RestFile:
        """Store a complete upload. Raises RestRefusal.

        With `hidden_ms` the file exists and counts, but no list shows it before: an upload that arrives late.
        """
        now = self.advance()
        try:
            with noted(self.tally, Call.UPLOAD, reference):
                check_upload(filename, reference, self.knobs.rest)
                self._quota.check_file(self._holding(), audio.size)
        except Refusal:
            audio.discard()
            raise
        self.tally.uploads[reference] += 1
        file = self._store.new_file(filename, reference, audio, now)
        file.visible += hidden_ms
        self._store.add_file(file)
        return file

    def abandon(self, audio: Audio) -> None:
        """End an upload that did not come to its end."""
        audio.discard()
        self.tally.note(Call.UPLOAD, "", "ABORTED")

    def list_files(self, *, age_ms: int = 0) -> list[RestFile]:
        """Return the files that a list shows, newest first, as it was `age_ms` ago."""
        now = self.advance()
        self.tally.note(Call.FILES, "")
        return self._files.seen(now, age_ms=age_ms)

    def file(self, file_id: str) -> RestFile:
        """Return one file. Raises RestRefusal."""
        self.advance()
        with noted(self.tally, Call.FILE, file_id):
            return self._find(self._files, file_id, Kind.FILE)

    def delete_file(self, file_id: str) -> None:
        """Remove a file; transcriptions of it that have not begun will fail. Raises RestRefusal."""
        now = self.advance()
        with noted(self.tally, Call.DELETE_FILE, file_id):
            file = self._find(self._files, file_id, Kind.FILE)
        self._store.drop_file(file, now, "deleted")

    def create(self, asked: CreateTranscription, *, hidden_ms: int = 0) -> RestJob:
        """Queue a transcription. Raises RestRefusal. With `hidden_ms` no list shows it before."""
        now = self.advance()
        reference = asked.client_reference_id or ""
        with noted(self.tally, Call.SUBMIT, reference):
            check_model(asked.model, self.knobs.rest)
            file = self._source(asked)
            check_money(self.exhausted, self.balance)
            self._quota.check_transcription(self._holding())
        self.tally.accepted[reference] += 1
        if self.balance is not None:
            self.balance -= 1
        job = self._store.new_job(asked, self._sound(asked, file), now, file=file, hidden_ms=hidden_ms)
        self._store.add_job(job, heard=not self._is_downloaded(asked))
        return job

    def list_jobs(self, *, age_ms: int = 0) -> list[Seen]:
        """Return the transcriptions that a list shows, newest first, as it was `age_ms` ago."""
        now = self.advance()
        self.tally.note(Call.SURVEY, "")
        return [Seen(job, job.status_at(now - age_ms)) for job in self._jobs.seen(now, age_ms=age_ms)]

    def job(self, job_id: str) -> RestJob:
        """Return one transcription. Raises RestRefusal."""
        self.advance()
        with noted(self.tally, Call.STATUS, job_id):
            return self._find(self._jobs, job_id, Kind.TRANSCRIPTION)

    def transcript(self, job_id: str) -> tuple[RestJob, Transcript]:
        """Return a completed transcription and its words. Raises RestRefusal."""
        self.advance()
        with noted(self.tally, Call.FETCH, job_id):
            job = self._find(self._jobs, job_id, Kind.TRANSCRIPTION)
            if job.ended is None or not isinstance(job.outcome, Transcript):
                raise refuse.not_ready()
            return job, job.outcome

    def delete(self, job_id: str) -> None:
        """Remove a transcription. Raises RestRefusal, also while it is being worked on (a knob)."""
        now, knobs = self.advance(), self.knobs
        with noted(self.tally, Call.DELETE, job_id):
            job = self._find(self._jobs, job_id, Kind.TRANSCRIPTION)
            at_work = job.status is RemoteStatus.PROCESSING and not knobs.delete_while_transcribing
            if at_work or (job.status is RemoteStatus.QUEUED and not knobs.rest.delete_queued):
                raise refuse.being_processed()
        self._store.drop_job(job, now, "deleted")
        if knobs.rest.cascade and job.asked.file_id is not None and job.asked.file_id in self._files:
            self._store.drop_file(self._files[job.asked.file_id], now, "deleted")

    def usage(self) -> list[Paid]:
        """Return what was paid for, oldest first; it stays when the transcription is deleted."""
        self.advance()
        self.tally.note(Call.USAGE, "")
        return self._store.paid

    def count(self, kind: Kind) -> tuple[int, int]:
        """Return how many objects of a kind lists show, and how many the service's web page made besides."""
        now = self.advance()
        self.tally.note(Call.COUNT, kind)
        if kind is Kind.FILE:
            return len(self._files.seen(now)), self.playground.files
        return len(self._jobs.seen(now)), self.playground.transcriptions

    # What the face tells.

    def arrived(self, job: RestJob, audio: Audio) -> None:
        """Take the recording of a transcription whose URL was downloaded."""
        self.advance()
        self._store.arrived(job, audio)

    def failed(self, job: RestJob, failure: Failure) -> None:
        """Let a transcription fail whose URL could not be downloaded."""
        self.advance()
        self._store.failed(job, failure)

    def notified(self, job: RestJob, outcome: str, status: int | None = None) -> None:
        """Note a try to call the webhook of a transcription, and the status that it answered with."""
        self.tally.webhooks[outcome] += 1
        job.webhook_status = status or job.webhook_status
        self._tell("notified", job)

    # What a test or an operator does.

    def advance(self) -> int:
        """Bring everything up to the present and return it (UTC milliseconds)."""
        return self._store.advance()

    @property
    def limits(self) -> Limits:
        """Return the four limits: `stored` is that of the transcriptions."""
        return self._quota.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._quota.limits = limits

    @property
    def balance_exhausted(self) -> bool:
        """Tell whether there is no money left. Assigned False, there is any amount."""
        return self.exhausted is not None or self.balance == 0

    @balance_exhausted.setter
    def balance_exhausted(self, exhausted: bool) -> None:
        self.exhausted = Exhausted.BALANCE if exhausted else None
        if not exhausted:
            self.balance = None

    @property
    def files(self) -> list[RestFile]:
        """The files there are now, oldest first, every client's."""
        self.advance()
        return list(self._files)

    @property
    def jobs(self) -> list[RestJob]:
        """The transcriptions there are now, oldest first, every client's."""
        self.advance()
        return list(self._jobs)

    @property
    def pending(self) -> int:
        """The number of transcriptions that count as pending now."""
        self.advance()
        return self._store.holding().pending

    @property
    def stored(self) -> int:
        """The number of transcriptions there are now."""
        self.advance()
        return len(self._jobs)

    def add_foreign(
        self, count: int = 1, *, reference: str = "other client", work_ms: int | None = None, force: bool = False
    ) -> list[str]:
        """Let another client of the key create transcriptions and return the ids of those that were accepted.

        They have no file. They are pending until `work_ms` after the queue, or without it until `finish`. Only
        as many as the limits allow are accepted, unless `force` is set.
        """
        now = self.advance()
        held, limits = self._holding(), self.limits
        room = max(0, min(limits.pending - held.pending, limits.stored - held.transcriptions))
        asked = CreateTranscription(model=CURRENT, audio_url="https://example.com/audio", client_reference_id=reference)
        jobs = [self._store.new_job(asked, EMPTY, now, work_ms=work_ms, foreign=True) for _ in range(count)]
        for job in jobs if force else jobs[:room]:
            job.outcome = Transcript(parts=())
            self._store.add_job(job, heard=False)
        return [job.id for job in (jobs if force else jobs[:room])]

    def add_foreign_file(self, size: int = 0, *, reference: str = "other client") -> str:
        """Let another client of the key upload a file of so many bytes, whatever the limits are, and return its id."""
        now = self.advance()
        file = self._store.new_file("other.wav", reference, Audio(EMPTY.digest, size), now)
        file.foreign = True
        self._store.add_file(file)
        return file.id

    def finish(self, job_id: str, outcome: Outcome | None = None) -> None:
        """End a transcription now: with `outcome`, or with what the recognizer made of it."""
        self._store.finish(self._jobs[job_id], outcome)

    def vanish(self, object_id: str) -> None:
        """Remove a file or a transcription behind its owner's back (another client's clean-up, an expiry)."""
        now = self.advance()
        if object_id in self._files:
            self._store.drop_file(self._files[object_id], now, "vanished")
        else:
            self._store.drop_job(self._jobs[object_id], now, "vanished")

    def close(self) -> None:
        """Drop the recordings that are still kept for a recognizer."""
        self._store.close()

    # Inside.

    def _source(self, asked: CreateTranscription) -> RestFile | None:
        if asked.file_id is None:
            return None
        if asked.file_id not in self._files:
            raise refuse.invalid(Invalid("body.payload.file_id", "No file with this ID exists in your project."))
        return self._files[asked.file_id]

    def _is_downloaded(self, asked: CreateTranscription) -> bool:
        return asked.audio_url is not None and self.knobs.rest.fetch_urls

    def _sound(self, asked: CreateTranscription, file: RestFile | None) -> Audio:
        if file is not None:
            return file.audio
        intake = self.intake()
        if not self._is_downloaded(asked):
            intake.add((asked.audio_url or "").encode())
        return intake.audio()

    def _holding(self) -> Load:
        return self._store.holding().plus(self.siblings).plus(self.playground)

    @staticmethod
    def _find(shelf: Shelf[T], key: str, kind: Kind) -> T:
        if key not in shelf:
            raise refuse.not_found(kind)
        return shelf[key]

    def _tell(self, change: str, item: RestFile | RestJob) -> None:
        for observer in self._observers:
            observer(self, change, item)
