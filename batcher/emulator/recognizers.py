"""Where the emulator's words come from.

`Echo` derives them from the recording's digest: instant, deterministic, and saying so in the text. `whisper`
(its own module) recognises the speech on this machine.
"""

from dataclasses import replace

import av
from av.container import InputContainer

from batcher.emulator.objects import Audio, Config, Failure, Outcome, Report
from batcher.model import Part, Transcript, Word

UNDECODABLE = "Audio could not be decoded."
ECHO_MODEL = "echo"

_WORD_MS = 400
_LIST = (
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor",
    "island", "juniper", "kettle", "lagoon", "meadow", "nectar", "orchard", "pebble",
    "quarry", "river", "summit", "timber", "upland", "valley", "willow", "yonder",
    "anchor", "beacon", "canyon", "dune", "estuary", "fern", "glacier", "heath",
)  # fmt: skip


class Echo:
    """Answers every recording with words derived from its digest.

    With `must_decode` a recording that is not audio fails; without it any bytes will do.
    """

    def __init__(self, *, must_decode: bool = False) -> None:
        self._must_decode = must_decode

    def wants_audio(self, config: Config) -> bool:
        """Tell whether the recording itself is needed: to be decoded, or to count its channels."""
        return self._must_decode or (config.separate_channels and not config.channels)

    def recognise(self, audio: Audio, config: Config, report: Report) -> None:
        """Report at once."""
        report(self._outcome(audio, config))

    def _outcome(self, audio: Audio, config: Config) -> Outcome:
        if self._must_decode and not _decodes(audio, config):
            return Failure(UNDECODABLE)
        transcript = echo(audio.digest, channels=_channels(audio, config), speakers=config.speakers)
        return _dressed(transcript, config)


def echo(digest: bytes, *, channels: int | None = None, speakers: bool = False) -> Transcript:
    """Return the transcript that `Echo` makes of a recording with this SHA-256.

    `channels` is the number of parts when separate recognition was asked for, None otherwise.
    """
    numbers: list[int | None] = [None] if channels is None else list(range(channels))
    parts = (Part(echo_words(digest, channel, speakers=speakers), channel) for channel in numbers)
    return Transcript(tuple(parts), separator="", model=ECHO_MODEL)


def echo_words(digest: bytes, channel: int | None = None, *, speakers: bool = False) -> tuple[Word, ...]:
    """Return the words of one channel, or of the whole recording: blanks are words of their own."""
    texts = ["echo", "of", "recording", digest.hex()[:8]]
    if channel is not None:
        texts += ["channel", str(channel)]
    start = channel or 0
    texts += [_LIST[byte % len(_LIST)] for byte in digest[start : start + 4 + digest[-1] % 8]]
    words: list[Word] = []
    for index, text in enumerate(texts):
        speaker = str(index // 4 % 2 + 1) if speakers else None
        begin, confidence = index * _WORD_MS, 0.5 + digest[index % len(digest)] / 512
        if index:
            words.append(Word(" ", begin - 50, begin, confidence, speaker))
        words.append(Word(text, begin, begin + _WORD_MS - 50, confidence, speaker))
    return tuple(words)


def echo_text(digest: bytes, channel: int | None = None) -> str:
    """Return the same as plain text."""
    return "".join(word.text for word in echo_words(digest, channel))


def _dressed(transcript: Transcript, config: Config) -> Transcript:
    """Add the names of speakers and the document, where they were asked for."""
    if config.speaker_names:
        names = {str(number): name for number, name in enumerate(config.speaker_names[:2], 1)}
        transcript = replace(transcript, parts=tuple(replace(part, speakers=names) for part in transcript.parts))
    if config.document:
        sections = [{"section_id": "1", "title": "Echo", "text": transcript.text}]
        transcript = replace(transcript, document={"sections": sections})
    return transcript


def open_audio(audio: Audio, config: Config) -> InputContainer:
    """Open a recording with PyAV. Raises av.FFmpegError or ValueError when it cannot be decoded."""
    if audio.content is None:
        raise ValueError("the recording was not kept")
    audio.content.seek(0)
    if not config.audio_format:
        return av.open(audio.content, mode="r")
    layout = {"sample_rate": str(config.sample_rate), "ch_layout": f"{config.channels}C"}
    return av.open(audio.content, mode="r", format=_RAW.get(config.audio_format, ""), options=layout)


_RAW = {f"pcm_{kind}{order}": f"{kind}{order}" for kind in ("f32", "s32", "s16") for order in ("le", "be")} | {
    "mulaw": "mulaw",
    "alaw": "alaw",
}


def _channels(audio: Audio, config: Config) -> int | None:
    if not config.separate_channels:
        return None
    return config.channels or _count_channels(audio, config) or 1


def _count_channels(audio: Audio, config: Config) -> int | None:
    try:
        with open_audio(audio, config) as container:
            return int(container.streams.audio[0].channels) if container.streams.audio else None
    except (av.FFmpegError, ValueError):
        return None  # junk has one channel


def _decodes(audio: Audio, config: Config) -> bool:
    try:
        with open_audio(audio, config) as container:
            return any(True for _ in container.decode(audio=0))
    except (av.FFmpegError, ValueError, IndexError):
        return False
