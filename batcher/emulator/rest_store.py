"""What one account of the REST API holds: files, transcriptions, and the recordings that are still needed."""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

from batcher.clock import Clock, Dice
from batcher.emulator.knobs import Knobs, Load
from batcher.emulator.objects import Audio, Config, Failure, Intake, Outcome, Recognizer
from batcher.emulator.recognizers import UNDECODABLE
from batcher.emulator.rest_bodies import CreateTranscription
from batcher.emulator.rest_checks import HEAD_BYTES, container_of, last_segment
from batcher.emulator.rest_models import routed
from batcher.emulator.rest_objects import Paid, RestFile, RestJob, config_of
from batcher.emulator.shelf import Shelf
from batcher.emulator.tally import RestTally
from batcher.emulator.workshop import Workshop
from batcher.model import RemoteStatus, Transcript

Tell = Callable[[str, RestFile | RestJob], None]

_DELETED_EARLY = Failure("The file was deleted before its transcription began.", "file_not_found")


class _Intake(Intake):
    """Receives a recording, and tells the store when the knob says that its container cannot be decoded."""

    def __init__(self, store: "RestStore", *, keep: bool) -> None:
        super().__init__(keep=keep)
        self._store = store
        self._head = b""

    def add(self, chunk: bytes) -> None:
        """Take the next bytes."""
        super().add(chunk)
        self._head += chunk[: HEAD_BYTES - len(self._head)]

    def audio(self) -> Audio:
        """Return what was received."""
        audio = super().audio()
        self._store.received(audio, self._head)
        return audio


class RestStore:
    """Files and transcriptions. Every change is sampled in the tally and told at the instant."""

    def __init__(
        self, knobs: Knobs, *, clock: Clock, recognizer: Recognizer, dice: Dice, tally: RestTally, tell: Tell
    ) -> None:
        self.files: Shelf[RestFile] = Shelf(knobs, dice)
        self.jobs: Shelf[RestJob] = Shelf(knobs, dice)
        self.paid: list[Paid] = []
        self._work: Workshop[RestJob] = Workshop(knobs, clock, recognizer, on_end=self._ended, on_heard=self._heard)
        self._knobs = knobs
        self._dice = dice
        self._tally = tally
        self._tell = tell
        self._bytes = 0
        self._unheard: set[RestJob] = set()  #: the recognizer still needs their recordings
        self._undecodable: set[bytes] = set()  #: SHA-256 of recordings in a container that the knob names
        self.job_errors: Counter[str] = Counter()  #: how many of the next transcriptions end with which error
        for error_type, count in knobs.rest.job_errors:
            self.job_errors[error_type] += count

    def advance(self) -> int:
        """Bring everything up to the present and return it (UTC milliseconds)."""
        now = self._work.advance()
        for job in self.jobs.expired(now):
            self.drop_job(job, now, "vanished")
        for file in self.files.expired(now):
            self.drop_file(file, now, "vanished")
        return now

    def holding(self) -> Load:
        """Return how much of each of the four limited things there is."""
        pending = self._work.pending
        if not self._knobs.rest.processing_is_pending:
            pending = sum(job.status is RemoteStatus.QUEUED for job in self.jobs)
        return Load(pending, len(self.jobs), len(self.files), self._bytes)

    def intake(self) -> Intake:
        """Return what a recording is received with, kept as the recognizer wants it."""
        return _Intake(self, keep=self._work.wants_audio(Config()))

    def received(self, audio: Audio, head: bytes) -> None:
        """Take note of how a recording begins: it is not kept, and its transcription comes later."""
        if container_of(head) in self._knobs.rest.undecodable:
            self._undecodable.add(audio.digest)

    def new_file(self, filename: str, reference: str, audio: Audio, now: int) -> RestFile:
        """Return a file that is not stored yet."""
        new_id = self._new_id()
        return RestFile(id=new_id, reference=reference, created=now, visible=now, filename=filename, audio=audio)

    def new_job(
        self,
        asked: CreateTranscription,
        audio: Audio,
        now: int,
        *,
        file: RestFile | None = None,
        work_ms: int | None = None,
        hidden_ms: int = 0,
        foreign: bool = False,
    ) -> RestJob:
        """Return a transcription that is not queued yet. `work_ms` is for another client's (None: until `finish`)."""
        return RestJob(
            id=self._new_id(),
            reference=asked.client_reference_id or "",
            config=config_of(asked),
            audio=audio,
            created=now,
            ready=now + self._knobs.queue_ms,
            visible=now + hidden_ms,
            work_ms=work_ms if foreign else self._work.work_ms(audio.size),
            foreign=foreign,
            asked=asked,
            model=routed(asked.model) or asked.model,
            filename=file.filename if file is not None else last_segment(asked.audio_url or ""),
            duration_ms=self._work.length_ms(audio.size),
        )

    def add_file(self, file: RestFile) -> None:
        """Store a file."""
        self.files.add(file)
        self._bytes += file.size
        self._changed("accepted", file)

    def add_job(self, job: RestJob, *, heard: bool = True) -> None:
        """Queue a transcription; the recognizer hears it now unless `heard` is False."""
        self.jobs.add(job)
        self._work.take(job)
        self._changed("accepted", job)
        if heard:
            self.arrived(job, job.audio)

    def arrived(self, job: RestJob, audio: Audio) -> None:
        """Let the recognizer hear the recording of a transcription; it may have come late."""
        job.audio = audio
        job.duration_ms = self._work.length_ms(audio.size)
        self._unheard.add(job)
        job.outcome = job.outcome or self._injected() or self._unsuitable(job)
        if job.outcome is None:
            self._work.recognise(job)
            return
        self._heard(job)
        if job.overdue and job.id in self.jobs:
            self.finish(job)

    def failed(self, job: RestJob, failure: Failure) -> None:
        """Let a transcription fail whose recording did not come."""
        if job.id in self.jobs:
            self.finish(job, failure)

    def finish(self, job: RestJob, outcome: Outcome | None = None) -> None:
        """End a transcription now."""
        self._work.finish(job, outcome)

    def drop_job(self, job: RestJob, now: int, change: str) -> None:
        """Remove a transcription."""
        self.jobs.remove(job, now)
        self._work.remove(job)
        self._changed(change, job)

    def drop_file(self, file: RestFile, now: int, change: str) -> None:
        """Remove a file; transcriptions of it that have not begun fail as soon as their turn comes."""
        self.files.remove(file, now)
        self._bytes -= file.size
        for job in self.jobs:
            if job.asked.file_id == file.id and job.status is RemoteStatus.QUEUED:
                job.outcome, job.work_ms = _DELETED_EARLY, 0
        self._release(file.audio)
        self._changed(change, file)

    def close(self) -> None:
        """Drop the recordings that are still kept for a recognizer."""
        for file in self.files:
            file.audio.discard()
        for job in self._unheard:
            job.audio.discard()

    def _new_id(self) -> str:
        return str(UUID(int=self._dice.stream("emulator.ids").getrandbits(128), version=4))

    def _injected(self) -> Failure | None:
        """Return the error with which the next transcription ends by the knob, None when it may succeed."""
        error_type = next((each for each, left in self.job_errors.items() if left > 0), None)
        if error_type is None:
            return None
        self.job_errors[error_type] -= 1
        self._tally.injected[f"job.{error_type}"] += 1
        return Failure("The transcription failed (injected).", error_type)

    def _unsuitable(self, job: RestJob) -> Failure | None:
        most = self._knobs.rest.max_duration_ms
        if most is not None and job.duration_ms > most:
            return Failure(f"The audio is longer than {most} ms.", self._knobs.rest.over_long)
        return Failure(UNDECODABLE) if job.audio.digest in self._undecodable else None

    def _heard(self, job: RestJob) -> None:
        self._unheard.discard(job)
        self._release(job.audio)

    def _release(self, audio: Audio) -> None:
        """Drop a recording that no file and no recognition needs any more."""
        if audio.content is None or any(job.audio is audio for job in self._unheard):
            return
        if all(file.audio is not audio for file in self.files):
            audio.discard()

    def _ended(self, job: RestJob) -> None:
        if isinstance(job.outcome, Transcript) and not job.foreign:
            tokens = sum(len(part.words) for part in job.outcome.parts)
            entry = Paid(
                uuid=self._new_id(),
                serial=len(self.paid) + 1,
                reference=job.reference,
                model=job.model,
                started=job.started or job.created,
                ended=job.ended or job.created,
                duration_ms=job.duration_ms,
                tokens=tokens,
            )
            self.paid.append(entry)
        self._tell("ended", job)

    def _changed(self, change: str, item: RestFile | RestJob) -> None:
        held = self.holding()
        self._tally.sample(held.pending, held.transcriptions)
        self._tally.files_peak = max(self._tally.files_peak, held.files)
        self._tally.bytes_peak = max(self._tally.bytes_peak, held.bytes)
        self._tell(change, item)
