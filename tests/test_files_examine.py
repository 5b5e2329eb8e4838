"""Looking into files before anything is spent: what can be sent, what cannot, and why."""

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from importlib import import_module
from io import FileIO
from pathlib import Path
from random import Random

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.files import Examination, Verdict, examine
from batcher.files.examine import _milliseconds
from batcher.model import FileBounds


def look(path: Path, *, digest: bool = False, bounds: FileBounds | None = None, raw: bool = False) -> Examination:
    """Examine with the service's own bounds."""
    return examine(os.fsencode(path), digest, bounds or FileBounds(), raw)


def write_wav(path: Path, seconds: int = 1) -> Path:
    """Write silence as a wav file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000 * seconds))
    return path


def silence(start: int) -> av.AudioFrame:
    """Return 1,024 samples of silence that begin at sample `start`."""
    frame = av.AudioFrame("fltp", "mono", 1024)
    frame.planes[0].update(bytes(4096))
    frame.sample_rate, frame.pts = 16000, start
    return frame


def write_video(path: Path, *, sound: bool) -> Path:
    """Write two seconds of a grey picture, with or without silence."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        voice = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number in range(10):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = number
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if voice is not None:
            for start in range(0, 32 * 1024, 1024):
                container.mux(voice.encode(silence(start)))
            container.mux(voice.encode(None))
    return path


def test_a_recording_passes_with_its_length_and_digest(tmp_path: Path) -> None:
    """What can be sent carries what the table needs of it."""
    path = write_wav(tmp_path / "talk.wav", 3)
    status = path.stat()
    digest = hashlib.sha256(path.read_bytes()).digest()
    assert look(path, digest=True) == Examination(
        Verdict.SUITABLE, "", status.st_size, status.st_mtime_ns, 3000, digest
    )
    assert look(path).digest is None


def test_a_name_that_is_not_utf8_does_not_matter(tmp_path: Path) -> None:
    """The open file is judged, not its name."""
    path = write_wav(tmp_path / "talk.wav").rename(tmp_path / os.fsdecode(b"caf\xe9:\n.wav"))
    assert look(path, digest=True).verdict is Verdict.SUITABLE


def test_a_video_passes_when_it_has_sound(tmp_path: Path) -> None:
    """Pictures do not matter; silence without a track does."""
    assert look(write_video(tmp_path / "a.mp4", sound=True)).verdict is Verdict.SUITABLE
    mute = look(write_video(tmp_path / "b.mp4", sound=False))
    assert (mute.verdict, mute.reason) == (Verdict.UNSUITABLE, "not audio")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"just some words\n" * 100, "not audio"), (bytes(5000), "not audio"), (b"RIFF", "not audio")],
)
def test_what_is_no_recording_is_unsuitable(tmp_path: Path, content: bytes, reason: str) -> None:
    """An ending does not make a recording; no digest is spent on what is not sent."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(content)
    seen = look(path, digest=True)
    assert (seen.verdict, seen.reason, seen.digest, seen.size) == (Verdict.UNSUITABLE, reason, None, len(content))


def test_too_big_and_too_long_are_unsuitable_with_the_numbers(tmp_path: Path) -> None:
    """The reason says how much there is and how much may be."""
    path = write_wav(tmp_path / "talk.wav", 3)
    big = look(path, bounds=FileBounds(bytes=48_043))
    assert (big.verdict, big.reason) == (Verdict.UNSUITABLE, "too big: 48,044 bytes, and 48,043 are allowed")
    long = look(path, bounds=FileBounds(duration_ms=2_999))
    assert (long.verdict, long.reason) == (Verdict.UNSUITABLE, "too long: 0:00:03, and 0:00:02 is allowed")
    assert look(path, bounds=FileBounds(48_044, 3_000)).verdict is Verdict.SUITABLE


def test_raw_audio_has_no_header_to_look_at(tmp_path: Path) -> None:
    """With headerless audio configured only the size is judged."""
    path = tmp_path / "talk.raw"
    path.write_bytes(bytes(5000))
    assert look(path, raw=True).verdict is Verdict.SUITABLE
    assert look(path, raw=True, bounds=FileBounds(bytes=4999)).verdict is Verdict.UNSUITABLE


def write_film(path: Path) -> Path:
    """Write what a camera writes: first a picture of noise, and the sound behind it."""
    with av.open(str(path), "w", format="mpegts") as film:
        pictures, sound = film.add_stream("mpeg1video", rate=25), film.add_stream("mp2", rate=44_100)
        pictures.width, pictures.height, pictures.pix_fmt, pictures.bit_rate = 640, 480, "yuv420p", 8_000_000
        for number in range(5):
            picture = av.VideoFrame(640, 480, "rgb24")
            picture.planes[0].update(Random(number).randbytes(640 * 480 * 3))
            picture.pts = number
            film.mux(pictures.encode(picture))
        for number in range(10):
            silent = silence(number * 1152)
            film.mux(sound.encode(silent))
        film.mux(pictures.encode(None))
        film.mux(sound.encode(None))
    return path


def test_sound_that_begins_behind_a_picture_is_found(tmp_path: Path) -> None:
    """A transport stream of a camera does not name its streams before they come."""
    assert look(write_film(tmp_path / "film.m2ts")).verdict is Verdict.SUITABLE


TS_PACKET = 188
PROGRAM_PID, SOUND_PID = 0x1000, 0x101  #: where FFmpeg puts the list of streams, and the second stream


def hide_type(film: Path) -> Path:
    """Have a transport stream list its sound as private data, as some recorders do."""
    whole = bytearray(film.read_bytes())
    for start in range(0, len(whole), TS_PACKET):
        packet = memoryview(whole)[start : start + TS_PACKET]
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        if pid == PROGRAM_PID:
            _list_as_private(packet[5 + packet[4] :])
        elif pid == SOUND_PID and packet[1] & 0x40:  # a piece begins here
            begin = bytes(packet).index(b"\0\0\1")
            packet[begin + 3] = 0xBD
    film.write_bytes(whole)
    return film


def _list_as_private(table: memoryview) -> None:
    """Change the type of the sound in a list of streams (ISO 13818-1, 2.4.4.8), and its checksum."""
    end = 3 + ((table[1] & 0x0F) << 8 | table[2]) - 4
    entry = 12
    while (table[entry + 1] & 0x1F) << 8 | table[entry + 2] != SOUND_PID:
        entry += 5 + table[entry + 4]
    table[entry] = 0x06
    checksum = 0xFFFFFFFF
    for byte in bytes(table[:end]):
        checksum ^= byte << 24
        for _bit in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 0x80000000 else 0)) & 0xFFFFFFFF
    table[end : end + 4] = checksum.to_bytes(4, "big")


def test_sound_that_no_header_tells_of_is_found(tmp_path: Path) -> None:
    """Only what is in its packets tells that a private stream is sound."""
    assert look(hide_type(write_film(tmp_path / "film.ts"))).verdict is Verdict.SUITABLE


def test_a_damaged_recording_with_a_good_header_passes(tmp_path: Path) -> None:
    """What can still be heard is the service's to say."""
    path = write_wav(tmp_path / "talk.wav", 3)
    content = bytearray(path.read_bytes())
    content[2000:30000] = os.urandom(28000)
    path.write_bytes(content[:40000])
    assert look(path).verdict is Verdict.SUITABLE


def test_an_unknown_length_passes(tmp_path: Path) -> None:
    """A live recording's header says nothing of its end."""
    whole = tmp_path / "talk.mkv"
    write_video(whole, sound=True)
    path = tmp_path / "live.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w", "matroska", options={"live": "1"}) as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
    seen = look(path, bounds=FileBounds(duration_ms=1))
    assert (seen.verdict, seen.duration_ms) == (Verdict.SUITABLE, None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.mp3", "it is not there"),
        ("directory", "it is a directory"),
        ("pipe", "it is not a regular file"),
        ("talk.wav/x", "something in its path is a symbolic link or no directory"),
        ("a\0b", "no file can have this name"),
        ("x" * 300, "the name is too long"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, reason: str) -> None:
    """Each refusal of the file system is told in plain words, and a pipe does not hang the batch."""
    write_wav(tmp_path / "talk.wav")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    seen = look(tmp_path / name, digest=True)
    assert seen == Examination(Verdict.UNREADABLE, reason)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Make a directory whose owner has no privileges, and be that owner for the test."""
    with tempfile.TemporaryDirectory() as directory:
        root = os.geteuid() == 0
        if root:
            os.chown(directory, 65534, 65534)
            os.seteuid(65534)
        yield Path(directory)
        if root:
            os.seteuid(0)


def test_a_file_that_may_not_be_read_says_so(unprivileged: Path) -> None:
    """Permission denied is a reason like any other."""
    path = write_wav(unprivileged / "talk.wav")
    path.chmod(0)
    assert look(path) == Examination(Verdict.UNREADABLE, "permission denied")


def test_a_disk_that_fails_makes_a_file_unreadable_not_unsuitable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input/output error under FFmpeg is the disk's, and comes out as such."""

    class Failing(FileIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(import_module("batcher.files.examine"), "FileIO", Failing)
    seen = look(write_wav(tmp_path / "talk.wav"))
    assert seen == Examination(Verdict.UNREADABLE, "the disk reports an input/output error")


def test_words_in_a_header_that_are_not_utf8_do_not_matter(tmp_path: Path) -> None:
    """A title in another encoding is no reason to refuse a recording."""
    path = write_wav(tmp_path / "talk.wav")
    title = b"INFOINAM" + (4).to_bytes(4, "little") + b"\xff\xfe\xe9\0"
    path.write_bytes(path.read_bytes() + b"LIST" + len(title).to_bytes(4, "little") + title)
    with av.open(str(path), metadata_errors="replace") as container:
        assert "title" in container.metadata
    assert look(path).verdict is Verdict.SUITABLE


def test_a_file_that_ends_too_soon_while_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest of less than the whole file is never used, even if size and time look the same afterwards."""
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: hashlib.new(name, file.read(100)))
    seen = look(write_wav(tmp_path / "talk.wav"), digest=True)
    assert (seen.verdict, seen.digest) == (Verdict.CHANGED, None)


@pytest.mark.parametrize(("microseconds", "known"), [(None, None), (-5, None), (0, None), (1_234_567, 1234)])
def test_a_length_of_nothing_is_no_length(microseconds: int | None, known: int | None) -> None:
    """A header that says zero or less does not know."""
    assert _milliseconds(microseconds) == known


def test_a_file_that_changes_while_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was judged is no longer there: look again later."""
    path = write_wav(tmp_path / "talk.wav")
    honest = hashlib.file_digest

    def digest_and_append(file: object, name: str) -> object:
        result = honest(file, name)  # type: ignore[arg-type]
        with path.open("ab") as more:
            more.write(b"more")
        return result

    monkeypatch.setattr(hashlib, "file_digest", digest_and_append)
    seen = look(path, digest=True)
    assert (seen.verdict, seen.digest) == (Verdict.CHANGED, None)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("talk.mp3", "ffconcat version 1.0\nfile talk.wav\n"),
        ("talk.mp3", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsound.aac\n#EXT-X-ENDLIST\n"),
    ],
)
def test_a_file_cannot_make_us_open_another(tmp_path: Path, name: str, content: str) -> None:
    """A playlist in a recording's clothes leads nowhere, neither on this disk nor in the network."""
    write_wav(tmp_path / "talk.wav")
    with av.open(str(tmp_path / "sound.aac"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for start in range(0, 64 * 1024, 1024):
            container.mux(stream.encode(silence(start)))
        container.mux(stream.encode(None))
    path = tmp_path / name
    path.write_text(content)
    seen = look(path)
    assert (seen.verdict, seen.reason) == (Verdict.UNSUITABLE, "not audio")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_to_a_header_raises(data: st.DataObject) -> None:
    """Whatever the bytes are, the answer is a verdict."""
    with tempfile.TemporaryDirectory() as directory:
        path = write_wav(Path(directory) / "talk.wav")
        content = bytearray(path.read_bytes())
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=20)):
            content[place] = value
        path.write_bytes(content[: data.draw(st.integers(0, 2000))])
        assert look(path, digest=True).verdict in (Verdict.SUITABLE, Verdict.UNSUITABLE)


def test_ffmpeg_says_nothing_on_stderr(tmp_path: Path) -> None:
    """The terminal belongs to the batch; and FFmpeg is not loaded before a file is looked into."""
    video = write_video(tmp_path / "a.mp4", sound=True)
    os.truncate(video, video.stat().st_size // 2)  # its index is at the end
    program = (
        "import os, sys; from batcher.files import examine; from batcher.model import FileBounds; "
        "assert 'av' not in sys.modules; import av.logging; av.logging.restore_default_callback(); print(examine(os.fsencode(sys.argv[1]), True, FileBounds(), False).verdict)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(video)], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("unsuitable\n", "")
