"""One account at the imitated service: its files, its limits, its refusals."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from batcher.clock import Clock, Dice
from batcher.emulator.knobs import LEGACY_MAX_BYTES, Knobs, NoEof, UnknownId
from batcher.emulator.objects import (
    EMPTY,
    Audio,
    Config,
    Failure,
    File,
    Intake,
    Outcome,
    Recognizer,
    Refusal,
)
from batcher.emulator.shelf import Shelf
from batcher.emulator.tally import Call, Tally, noted
from batcher.emulator.workshop import Workshop
from batcher.model import Limits, RemoteObject, RemoteStatus, Transcript

REFERENCE_CHARACTERS = 256  #: by the legacy documentation

Observer = Callable[["Account", str, File], None]
"""Hears of every change of a file, at the instant: ``accepted``, ``ended``, ``deleted``, ``vanished``."""


class Upload:
    """An upload under way. Left without `accept` it was aborted, and its bytes come to nothing."""

    def __init__(self, account: "Account", reference: str, config: Config, intake: Intake) -> None:
        self._account, self._reference, self._config, self._intake = account, reference, config, intake
        self._over = False
        self.add = intake.add

    def accept(self, *, hidden_ms: int = 0) -> File:
        """Store what was uploaded. Raises Refusal. See `Account.accept`."""
        self._over = True
        return self._account.accept(self._reference, self._config, self._intake.audio(), hidden_ms=hidden_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._over:
            self._account.abandon(self._reference, self._config, self._intake.audio())


class Account:
    """The files of one key. Every verb looks at the clock first, so nothing has to run in between.

    The first part is what clients do, the second what a test or an operator may do to the account while it
    runs. `limits`, `revoked` and `balance_exhausted` may simply be assigned.
    """

    def __init__(
        self,
        name: str,
        knobs: Knobs,
        *,
        clock: Clock,
        recognizer: Recognizer,
        serials: Iterator[int],
        dice: Dice,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.name = name
        self.knobs = knobs
        self.limits = Limits(knobs.pending, knobs.stored)
        self.revoked = False
        self.balance_exhausted = False
        self._observers = observers
        self.tally = Tally(deque(maxlen=knobs.trace))
        self._serials = serials
        self._files: Shelf[File] = Shelf(knobs, dice)
        self._work: Workshop[File] = Workshop(
            knobs, clock, recognizer, on_end=lambda file: self._tell("ended", file), on_heard=_discard
        )

    # What clients do.

    def upload(self, reference: str, config: Config) -> "Upload":
        """Begin an upload: check what can be checked before its bytes. Raises Refusal."""
        self.advance()
        with noted(self.tally, Call.SUBMIT, reference, also_success=False):
            self._check(reference, config)
            if not self.knobs.refuse_after_bytes:
                self._check_room()
        return Upload(self, reference, config, Intake(keep=self._work.wants_audio(config)))

    def accept(self, reference: str, config: Config, audio: Audio, *, hidden_ms: int = 0) -> File:
        """Store a complete upload and queue it. Raises Refusal.

        With `hidden_ms` the file exists and counts, but no list shows it before: an upload that arrives late.
        """
        now = self.advance()
        try:
            with noted(self.tally, Call.SUBMIT, reference):
                self._check(reference, config)
                self._check_size(audio)
                self._check_room()
        except Refusal:
            audio.discard()
            raise
        self.tally.accepted[reference] += 1
        file = self._new(reference, config, audio, now, work_ms=self._work.work_ms(audio.size))
        file.visible += hidden_ms
        self._add(file)
        self._work.recognise(file)
        return file

    def abandon(self, reference: str, config: Config, audio: Audio) -> None:
        """End an upload that came without its end mark."""
        now = self.advance()
        audio.discard()
        self.tally.note(Call.SUBMIT, reference, "ABORTED")
        if self.knobs.no_eof is NoEof.FAILED:
            file = self._new(reference, config, audio, now, work_ms=0)
            file.outcome = Failure("The upload ended early.")
            self._add(file)
            self._work.finish(file)

    def survey(self, *, age_ms: int = 0) -> list[RemoteObject]:
        """Return the list of files, as it was `age_ms` ago."""
        now = self.advance()
        self.tally.note(Call.SURVEY, "")
        return [_seen(file, now - age_ms) for file in self._files.listed(now, age_ms=age_ms)]

    def status(self, file_id: str) -> list[RemoteObject]:
        """Return one file in a list; for an unknown id an empty one or a Refusal, by the knob."""
        now = self.advance()
        if file_id not in self._files and self.knobs.unknown_id is UnknownId.EMPTY:
            self.tally.note(Call.STATUS, file_id)
            return []
        with noted(self.tally, Call.STATUS, file_id):
            return [_seen(self._find(file_id), now)]

    def fetch(self, file_id: str) -> tuple[File, Transcript]:
        """Return a completed file and its words. Raises Refusal."""
        self.advance()
        with noted(self.tally, Call.FETCH, file_id):
            file = self._find(file_id)
            if file.status is not RemoteStatus.COMPLETED or not isinstance(file.outcome, Transcript):
                raise Refusal("FAILED_PRECONDITION", "The file has no result in its present status.")
            return file, file.outcome

    def delete(self, file_id: str) -> None:
        """Remove a file. Raises Refusal, also while it is being transcribed (a knob)."""
        now = self.advance()
        with noted(self.tally, Call.DELETE, file_id):
            file = self._find(file_id)
            if file.status is RemoteStatus.PROCESSING and not self.knobs.delete_while_transcribing:
                raise Refusal("FAILED_PRECONDITION", "The file is being transcribed and cannot be deleted yet.")
        self._drop(file, now, "deleted")

    # What a test or an operator does.

    def advance(self) -> int:
        """Bring everything up to the present and return it (UTC milliseconds)."""
        now = self._work.advance()
        for file in self._files.expired(now):
            self._drop(file, now, "vanished")
        return now

    @property
    def files(self) -> list[File]:
        """The files there are now, oldest first, every client's."""
        self.advance()
        return list(self._files)

    @property
    def pending(self) -> int:
        """The number of files queued or being transcribed now."""
        self.advance()
        return self._work.pending

    @property
    def stored(self) -> int:
        """The number of files there are now."""
        self.advance()
        return len(self._files)

    def add_foreign(
        self, count: int = 1, *, reference: str = "other client", work_ms: int | None = None, force: bool = False
    ) -> list[str]:
        """Let another client of the account upload files and return the ids of those that were accepted.

        They are pending until `work_ms` after the queue, or without it until `finish`. Only as many as the
        limits allow are accepted, unless `force` is set.
        """
        now = self.advance()
        room = min(self.limits.pending - self._work.pending, self.limits.stored - len(self._files))
        new = [
            self._new(reference, Config(), EMPTY, now, work_ms=work_ms, foreign=True)
            for _ in range(count if force else max(0, min(count, room)))
        ]
        for file in new:
            file.outcome = Transcript(parts=())
            self._add(file)
        return [file.id for file in new]

    def finish(self, file_id: str, outcome: Outcome | None = None) -> None:
        """End a transcription now: with `outcome`, or with what the recognizer made of it."""
        self._work.finish(self._files[file_id], outcome)

    def vanish(self, file_id: str) -> None:
        """Remove a file behind its owner's back (another client's clean-up, an expiry)."""
        self._drop(self._files[file_id], self.advance(), "vanished")

    def close(self) -> None:
        """Drop the recordings that are still kept for a recognizer."""
        for file in self._files:
            file.audio.discard()

    # Inside.

    def _check(self, reference: str, config: Config) -> None:
        if len(reference) > REFERENCE_CHARACTERS:
            raise Refusal("INVALID_ARGUMENT", f"The reference name exceeds {REFERENCE_CHARACTERS} characters.")
        if self.knobs.models is not None and config.model not in self.knobs.models:
            raise Refusal("INVALID_ARGUMENT", f"Unknown model: {config.model!r}.")
        if self.balance_exhausted:
            raise Refusal("PERMISSION_DENIED", "The balance of the organization is exhausted.")

    def _check_size(self, audio: Audio) -> None:
        most = LEGACY_MAX_BYTES if self.knobs.max_bytes is None else self.knobs.max_bytes
        if audio.size > most:
            raise Refusal("INVALID_ARGUMENT", f"The file exceeds {most} bytes.")

    def _check_room(self) -> None:
        if not self.knobs.refuse_full:
            return
        for what, count, limit in (
            ("pending", self._work.pending, self.limits.pending),
            ("stored", len(self._files), self.limits.stored),
        ):
            if count >= limit:
                self.tally.refused_full(what)
                raise Refusal("RESOURCE_EXHAUSTED", f"Too many {what} files: the limit is {limit}.")

    def _new(
        self, reference: str, config: Config, audio: Audio, now: int, *, work_ms: int | None, foreign: bool = False
    ) -> File:
        return File(
            id=str(next(self._serials)),
            reference=reference,
            config=config,
            audio=audio,
            created=now,
            ready=now + self.knobs.queue_ms,
            visible=now,
            work_ms=work_ms,
            foreign=foreign,
        )

    def _add(self, file: File) -> None:
        self._files.add(file)
        self._work.take(file)
        self.tally.sample(self._work.pending, len(self._files))
        self._tell("accepted", file)

    def _find(self, file_id: str) -> File:
        if file_id not in self._files:
            raise Refusal("NOT_FOUND", "No file with this id exists.")
        return self._files[file_id]

    def _drop(self, file: File, now: int, change: str) -> None:
        self._files.remove(file, now)
        self._work.remove(file)
        self._tell(change, file)

    def _tell(self, change: str, file: File) -> None:
        for observer in self._observers:
            observer(self, change, file)


def _discard(file: File) -> None:
    file.audio.discard()


def _seen(file: File, time: int) -> RemoteObject:
    return RemoteObject(file.id, file.reference, file.status_at(time), _error_at(file, time), file.created)


def _error_at(file: File, time: int) -> str:
    return file.error if file.ended is not None and file.ended <= time else ""
