#!/usr/bin/env python3
"""Make the demo's recordings again.

The texts below were written for this project. They are spoken by a speech synthesizer, flite, with its voices ``slt``,
``rms`` and ``awb``; nobody said any of it. The files were made on Debian 12 by its packages ``flite``, ``sox``,
``flac``, ``vorbis-tools`` and ``lame``; nothing else is needed::

    python batcher/demo/make_recordings.py

replaces ``recordings/`` and ``texts.json`` beside this file. With the same versions of the tools the files come out the
same to the byte: no tool is left to choose a serial number or a dither, and none writes a date.

Each turn is spoken by flite and followed by a short pause. On two channels the side that listens is silent for as long
as the other one speaks, so the sides never overlap. Everything is 16 kHz, 16 bit, before it is packed.

``texts.json`` says for each file, by its path in ``recordings/``, what is spoken in it: a text; for two channels
``{"channels": [left, right], "together": [both]}``; null for the damaged file. The texts have no digits, no
abbreviations and no names, and their spelling is American, so that a transcript can be compared with them word by word.

The damaged file looks like a copy that was broken off: the first disk block of a sound FLAC file, and zeros where the
rest should be. Its header is whole, so it opens and claims the length of the sound one. But its first frame of audio
breaks off and there is no other, so not one sample can be decoded.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
RECORDINGS = HERE / "recordings"
TEXTS = HERE / "texts.json"
DAMAGED = "damaged/broken-off-copy.flac"
SOUND_TWIN = "dictations/knee-examination.flac"
DISK_BLOCK = 512  # bytes: more than the header, less than the header and one frame of audio
DAMAGED_SIZE = 64 * 1024
PAUSE_SECONDS = "0.35"
STRETCH = "1.05"  # flite is a little hasty, and the recogniser of the demo is a small one

LEFT, RIGHT = 0, 1


class Turn(NamedTuple):
    """What one voice says before another one speaks."""

    voice: str
    text: str
    channel: int = LEFT


RECORDED: dict[str, list[Turn]] = {
    SOUND_TWIN: [
        Turn(
            "slt",
            "The patient reports pain in the left knee after a long walk. There is no swelling and the skin is not warm. "
            "The joint moves freely in every direction. I recommend rest, a cold bandage in the evening, and another visit next week.",
        ),
    ],
    "dictations/night-cough.wav": [
        Turn(
            "rms",
            "The cough is better since the last visit. The lungs sound clear on both sides. "
            "Please continue the medicine until Sunday, and drink plenty of water.",
        ),
    ],
    "calls/heating-repair.flac": [
        Turn("slt", "Hello, the heating in my apartment has stopped working and the rooms are getting cold.", LEFT),
        Turn("rms", "I am sorry to hear that. Is there a red light on the front of the boiler?", RIGHT),
        Turn("slt", "Yes, there is a red light, and I can hear a quiet clicking sound.", LEFT),
        Turn("rms", "Thank you. A technician will visit you tomorrow morning.", RIGHT),
    ],
    "interviews/bakery-01.mp3": [
        Turn("rms", "When does your working day begin, and what do you do first?"),
        Turn(
            "slt",
            "I begin in the middle of the night. First I heat the oven, and then I make the bread. "
            "By the time the city wakes up, everything is on the shelf.",
        ),
    ],
    "interviews/café-gespräch-02.ogg": [
        Turn("slt", "What do people talk about when they sit in your coffee house?"),
        Turn(
            "rms",
            "Mostly about the weather and the price of houses. "
            "When it rains they have more time, and then they tell me about their families.",
        ),
    ],
    "court/morning-session.mp3": [
        Turn(
            "rms",
            "The court opened the session in the morning. Both parties were present. The witness described the accident "
            "and answered the questions of the judge. The hearing will continue next month in the same room.",
        ),
    ],
    "lectures/tides.ogg": [
        Turn(
            "slt",
            "The water of the ocean rises and falls because of the moon. The moon attracts the water that is closest to it. "
            "As the earth turns, each coast passes through this high water, and a few hours later the water is low again.",
        ),
    ],
    "memos/bicycle.mp3": [
        Turn(
            "awb",
            "This is a note for me. Bring the bicycle to the shop before the weekend, because the front brake is loose. "
            "Then buy milk, apples, and a new lamp for the kitchen.",
        ),
    ],
    "weather/evening-report.ogg": [
        Turn(
            "slt",
            "This is the weather report for this evening. The wind comes from the west and it is getting stronger. "
            "There are dark clouds over the mountains, and snow is expected during the night. The road to the village is open.",
        ),
    ],
    "museum/lighthouse.mp3": [
        Turn(
            "slt",
            "Here you can see the big lamp of the old lighthouse. Every night it shows ships the way into the harbor. "
            "Look at the glass from the side, and you will see all the colors of the rainbow.",
        ),
    ],
}


def main() -> int:
    """Make all recordings and their texts, and say how large they are."""
    if missing := [tool for tool in ("flite", "sox", "flac", "oggenc", "lame") if shutil.which(tool) is None]:
        sys.stderr.write(
            f"not installed: {', '.join(missing)} (Debian: apt install flite sox flac vorbis-tools lame)\n"
        )
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "made")
        for number, (path, turns) in enumerate(RECORDED.items()):
            workplace = Path(scratch, str(number))
            workplace.mkdir()
            pack(spoken(turns, workplace), made / path)
        damage(made / SOUND_TWIN, made / DAMAGED)
        if RECORDINGS.exists():
            shutil.rmtree(RECORDINGS)
        shutil.copytree(made, RECORDINGS)
    TEXTS.write_text(json.dumps(texts(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    report()
    return 0


def spoken(turns: list[Turn], workplace: Path) -> Path:
    """Return a WAV file, made in ``workplace``, in which the turns follow one another."""
    pieces = [speak(turn, workplace / f"turn{number}.wav") for number, turn in enumerate(turns)]
    channels = sorted({turn.channel for turn in turns})
    sides = [side(channel, turns, pieces) for channel in channels]
    whole = workplace / "whole.wav"
    if len(sides) == 1:
        call("sox", "-D", *sides[0], whole)
        return whole
    for channel, heard in zip(channels, sides, strict=True):
        call("sox", "-D", *heard, workplace / f"side{channel}.wav")
    call("sox", "-D", "-M", *(workplace / f"side{channel}.wav" for channel in channels), whole)
    return whole


def speak(turn: Turn, file: Path) -> Path:
    """Speak one turn into ``file``, as loud as all others, with a pause after it."""
    raw = file.with_suffix(".raw.wav")
    call("flite", "-voice", turn.voice, "--setf", f"duration_stretch={STRETCH}", "-t", turn.text, "-o", raw)
    call("sox", "-D", raw, file, "norm", "-3", "pad", "0", PAUSE_SECONDS)
    call("sox", "-D", file, silence_for(file), "vol", "0")
    return file


def side(channel: int, turns: list[Turn], pieces: list[Path]) -> list[Path]:
    """Return what is heard on one channel, in order: its own turns, and silence during all others."""
    return [piece if turn.channel == channel else silence_for(piece) for turn, piece in zip(turns, pieces, strict=True)]


def silence_for(piece: Path) -> Path:
    """Return the name of the silence that is exactly as long as ``piece``."""
    return piece.with_suffix(".silence.wav")


def pack(wav: Path, target: Path) -> None:
    """Write ``wav`` to ``target`` in the format that its name asks for."""
    target.parent.mkdir(parents=True, exist_ok=True)
    match target.suffix:
        case ".wav":
            shutil.copyfile(wav, target)
        case ".flac":
            call("flac", "--silent", "--best", "--no-padding", "-o", target, wav)
        case ".ogg":
            call("oggenc", "--quiet", "--serial", "1", "--quality", "3", "-o", target, wav)
        case ".mp3":
            call("lame", "--quiet", "--cbr", "-b", "40", "-q", "0", wav, target)
        case other:
            raise ValueError(f"no packer for {other}: {target}")


def damage(sound: Path, target: Path) -> None:
    """Write what is left of the FLAC file ``sound`` when only its first disk block was copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(sound.read_bytes()[:DISK_BLOCK].ljust(DAMAGED_SIZE, b"\0"))


def texts() -> dict[str, object]:
    """Return what ``texts.json`` holds: for each path what is spoken in it."""
    known: dict[str, object] = {path: text_of(turns) for path, turns in RECORDED.items()}
    return dict(sorted({**known, DAMAGED: None}.items()))


def text_of(turns: list[Turn]) -> str | dict[str, list[str]]:
    """Return the text of one recording; if it has two channels, that of each and that of both together."""
    said = [" ".join(turn.text for turn in turns if turn.channel == channel) for channel in (LEFT, RIGHT)]
    return {"channels": said, "together": [" ".join(turn.text for turn in turns)]} if said[RIGHT] else said[LEFT]


def call(tool: str, *arguments: str | Path) -> None:
    """Run one tool and let its own words be the reason if it fails."""
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)  # noqa: S603 - every argument is ours
    if done.returncode != 0:
        raise RuntimeError(f"{tool} ended with {done.returncode}: {done.stderr.strip() or 'no reason given'}")


def report() -> None:
    """Print the size of each recording and of all."""
    sizes = {path.relative_to(RECORDINGS): path.stat().st_size for path in sorted(RECORDINGS.rglob("*.*"))}
    for path, size in sizes.items():
        sys.stdout.write(f"{size:>9,} {path}\n")
    sys.stdout.write(f"{sum(sizes.values()):>9,} in all\n")


if __name__ == "__main__":
    sys.exit(main())
