"""Where the emulator's words come from: the digest, or the speech itself."""

import hashlib
import importlib.metadata
import io
import struct
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from batcher.emulator.objects import MEMORY_BYTES, Audio, Config, Failure, Intake, Outcome
from batcher.emulator.recognizers import UNDECODABLE, Echo, echo, echo_text, echo_words
from batcher.emulator.whisper import Whisper, decode, packaged_model
from batcher.errors import UsageError
from batcher.model import Transcript

RECORDINGS = Path(__file__).parent.parent / "batcher" / "demo" / "recordings"
DIGEST = hashlib.sha256(b"a recording").digest()


Received = Callable[[bytes], Audio]


@pytest.fixture
def received() -> Iterator[Received]:
    """Return what turns bytes into a recording as a face receives it; it is dropped after the test."""
    all_audio: list[Audio] = []

    def receive(content: bytes) -> Audio:
        intake = Intake(keep=True)
        intake.add(content)
        all_audio.append(intake.audio())
        return all_audio[-1]

    yield receive
    for audio in all_audio:
        audio.discard()


def wav(channels: int, samples: int = 8000, rate: int = 8000, levels: tuple[int, ...] = (0,)) -> bytes:
    """Return a recording in which each channel keeps a level of its own."""
    target = io.BytesIO()
    with wave.open(target, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        frame = struct.pack(f"<{channels}h", *(levels * channels)[:channels])
        writer.writeframes(frame * samples)
    return target.getvalue()


def outcome_of(recognizer: Echo, audio: Audio, config: Config) -> Outcome:
    """Return what the echo reports at once."""
    outcomes: list[Outcome] = []
    recognizer.recognise(audio, config, outcomes.append)
    [outcome] = outcomes
    return outcome


def test_an_echo_says_that_it_is_one_and_of_what() -> None:
    """The text names the recording by its digest, and differs for another one."""
    assert echo_text(DIGEST).startswith(f"echo of recording {DIGEST.hex()[:8]} ")
    assert echo_text(DIGEST) == echo(DIGEST).text
    assert echo_text(DIGEST) != echo_text(hashlib.sha256(b"another").digest())


def test_the_words_of_an_echo_have_times_in_order_and_confidence() -> None:
    """Blanks are words of their own, and nothing lies before the start."""
    words = echo_words(DIGEST)
    times = [time for word in words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(time for time in times if time is not None)
    assert times[0] == 0
    assert [word.text for word in words[1::2]] == [" "] * (len(words) // 2)
    assert all(word.confidence is not None and 0 < word.confidence <= 1 for word in words)


def test_the_channels_of_an_echo_say_which_they_are() -> None:
    """Each part has its number, and words that differ from the other's."""
    transcript = echo(DIGEST, channels=2)
    assert [part.channel for part in transcript.parts] == [0, 1]
    assert "channel 0" in echo_text(DIGEST, 0)
    assert transcript.text == echo_text(DIGEST, 0) + "\n" + echo_text(DIGEST, 1)


@pytest.mark.parametrize(("content", "channels"), [(wav(1), 1), (wav(3), 3), (b"no audio at all", 1)])
def test_an_echo_counts_the_channels_of_the_header(received: Received, content: bytes, channels: int) -> None:
    """What is no audio has one."""
    outcome = outcome_of(Echo(), received(content), Config(separate_channels=True))
    assert isinstance(outcome, Transcript)
    assert len(outcome.parts) == channels


def test_an_echo_keeps_the_recording_only_when_it_must_look_inside() -> None:
    """A thousand uploads at once need no memory."""
    assert not Echo().wants_audio(Config())
    assert not Echo().wants_audio(Config(separate_channels=True, channels=2))
    assert Echo().wants_audio(Config(separate_channels=True))
    assert Echo(must_decode=True).wants_audio(Config())


def test_an_echo_may_insist_on_audio(received: Received) -> None:
    """With the knob, what cannot be decoded fails and what can does not."""
    strict = Echo(must_decode=True)
    assert outcome_of(strict, received(b"no audio at all"), Config()) == Failure(UNDECODABLE)
    assert outcome_of(strict, received(b""), Config()) == Failure(UNDECODABLE)
    assert isinstance(outcome_of(strict, received(wav(1)), Config()), Transcript)


def test_a_large_recording_is_spilled_to_disk(received: Received) -> None:
    """Above a bound what is kept does not stay in memory, and nothing of it is lost."""
    content = bytes(range(256)) * (MEMORY_BYTES // 256 + 1)
    audio = received(content)
    assert audio.content is not None
    assert isinstance(audio.content.fileno(), int), "it has become a real file"
    assert audio.content.read() == content


def test_channels_are_decoded_each_by_itself_or_mixed(received: Received) -> None:
    """Samples come at the model's rate, whatever the recording's."""
    content = wav(2, samples=8000, rate=8000, levels=(16384, -16384))
    left, right = decode(received(content), Config(separate_channels=True))
    assert (left[8000], right[8000]) == (pytest.approx(0.5, abs=0.01), pytest.approx(-0.5, abs=0.01))
    [mixed] = decode(received(content), Config())
    assert mixed[8000] == pytest.approx(0, abs=0.01)
    assert len(left) == pytest.approx(16_000, abs=100)


def test_raw_audio_is_decoded_by_its_description(received: Received) -> None:
    """Without a header, rate and channels are what the client said."""
    raw = struct.pack("<2h", 16384, -16384) * 8000
    config = Config(separate_channels=True, audio_format="pcm_s16le", sample_rate=8000, channels=2)
    left, right = decode(received(raw), config)
    assert (left[8000], right[8000]) == (pytest.approx(0.5, abs=0.01), pytest.approx(-0.5, abs=0.01))
    assert len(left) == pytest.approx(16_000, abs=100)


def test_the_packaged_model_is_found_and_its_code_is_not_needed() -> None:
    """The directory holds what faster-whisper wants."""
    assert {"model.bin", "config.json", "tokenizer.json"} <= {path.name for path in packaged_model().iterdir()}


def test_a_missing_model_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""

    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(UsageError) as error:
        Whisper()
    assert "batcher[demo]" in error.value.hint


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message comes at the start, not when the first recording arrives."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="faster-whisper") as error:
        Whisper()
    assert "batcher[demo]" in error.value.hint


@asynccontextmanager
async def listening() -> AsyncIterator[Whisper]:
    """Yield a whisper at work."""
    whisper = Whisper()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(whisper.run)
        yield whisper
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_whisper_hears_the_words_and_the_channels_and_what_is_damaged(received: Received) -> None:
    """Speech becomes words with times, each channel by itself; what cannot be decoded fails; the order is kept."""
    heard: list[Outcome] = []
    done = anyio.Event()

    def report(outcome: Outcome) -> None:
        heard.append(outcome)
        if len(heard) == 3:
            done.set()

    async with listening() as whisper:
        calls = received((RECORDINGS / "calls" / "heating-repair.flac").read_bytes())
        whisper.recognise(calls, Config(separate_channels=True), report)
        whisper.recognise(received(b"no audio at all"), Config(), report)
        whisper.recognise(received((RECORDINGS / "memos" / "bicycle.mp3").read_bytes()), Config(), report)
        await done.wait()
    two, broken, memo = heard
    assert isinstance(two, Transcript)
    assert isinstance(memo, Transcript)
    assert broken == Failure(UNDECODABLE)
    assert "heating" in two.parts[0].words[4].text
    assert "technician" in "".join(word.text for word in two.parts[1].words)
    assert "bicycle to the shop" in memo.text
    ends = [word.end_ms for word in memo.parts[0].words if word.end_ms is not None]
    assert ends == sorted(ends)
    assert 5_000 < ends[-1] < 60_000
