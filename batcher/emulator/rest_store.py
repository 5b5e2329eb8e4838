"""What one account of the REST API holds: files, transcriptions, and the recordings that are still needed."""

from collections.abc import Callable
from uuid import UUID

from batcher.clock import Clock, Dice
from batcher.emulator.knobs import Knobs, Load
from batcher.emulator.objects import Audio, Failure, Outcome, Recognizer
from batcher.emulator.rest_objects import Paid, RestFile, RestJob
from batcher.emulator.shelf import Shelf
from batcher.emulator.tally import RestTally
from batcher.emulator.workshop import Workshop
from batcher.model import RemoteStatus, Transcript

Tell = Callable[[str, RestFile | RestJob], None]

_DELETED_EARLY = Failure("The file was deleted before its transcription began.", "file_not_found")


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
        self.wants_audio = self._work.wants_audio
        self.length_ms = self._work.length_ms

    def advance(self) -> int:
        """Bring everything up to the present and return it (UTC milliseconds)."""
        now = self._work.advance()
        for job in self.jobs.expired(now):
            self.drop_job(job, now, "vanished")
        for file in self.files.expired(now):
            self.drop_file(file, now, "vanished")
        return now

    def new_id(self) -> str:
        """Return a UUID that nobody has yet."""
        return str(UUID(int=self._dice.stream("emulator.ids").getrandbits(128), version=4))

    def holding(self) -> Load:
        """Return how much of each of the four limited things there is."""
        pending = self._work.pending
        if not self._knobs.rest.processing_is_pending:
            pending = sum(job.status is RemoteStatus.QUEUED for job in self.jobs)
        return Load(pending, len(self.jobs), len(self.files), self._bytes)

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
        job.duration_ms = self.length_ms(audio.size)
        most = self._knobs.rest.max_duration_ms
        self._unheard.add(job)
        if most is not None and job.duration_ms > most:
            job.outcome = Failure(f"The audio is longer than {most} ms.", self._knobs.rest.over_long)
            self._heard(job)
        else:
            self._work.recognise(job)

    def failed(self, job: RestJob, failure: Failure) -> None:
        """Let a transcription fail whose recording did not come."""
        if job.id in self.jobs:
            self.finish(job, failure)

    def work_ms(self, size: int) -> int:
        """Return how long a recording of `size` bytes is worked on."""
        return self._work.work_ms(size)

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
                uuid=self.new_id(),
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
