"""Whatever lies in OUT, and whatever recordings are called: nothing is written outside of OUT."""

import os
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from batcher.emulator.knobs import Knobs
from batcher.errors import MachineRefuses
from batcher.files import OutputError, output_name, private_directory, url_output, write_output
from tests.emulated import emulated_rest

QUICK = Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40)

#: Names as a person who means no good would give them. Directories among them hold a recording of a plain name.
NAMES = [
    b"..%2f..%2fescape.wav", b"..\\..\\escape.wav", b"....//escape.wav", b"~/escape.wav", b"$(id).wav", b"-o.wav",
    b".batcher/jobs.sqlite3.wav", b".BATCHER/x.wav", b".batcher-1-1.tmp.wav", b"c:escape.wav", b"a:stream.wav",
    b"\xef\xbc\x8e\xef\xbc\x8e/escape.wav", b"\x1b]0;x\x07.wav", b"a\nb.wav", b"\xff\xfe/\xc0\xae\xc0\xae.wav",
    b"x" * 250 + b".wav", b"CON.wav", b"nul", b" .wav", b"...wav",
]  # fmt: skip


def tree(folder: Path) -> dict[bytes, bytes]:
    """Return everything below a directory, links as what they point to."""
    return {
        os.fsencode(path.relative_to(folder)): os.fsencode(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else b"(directory)"
        for path in folder.rglob("*")
    }


def test_hostile_names_and_links_in_out_lead_nowhere(tmp_path: Path) -> None:
    """A link in place of a directory or an output fails those jobs, says so, and is not written through."""
    recordings, out, elsewhere = tmp_path / "in", tmp_path / "out", tmp_path / "elsewhere"
    for name in [*NAMES, b"linked/talk.wav", b"file.wav", b"gone.wav", b"up/talk.wav"]:
        path = recordings / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(name * 100)
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_bytes(b"mine")
    out.mkdir()
    (out / "linked").symlink_to(elsewhere)
    (out / "up").symlink_to("..")
    (out / "file.wav.txt").symlink_to(elsewhere / "mine.txt")
    (out / "gone.wav.txt").symlink_to(elsewhere / "not-there.txt")
    with emulated_rest(QUICK) as emulator:
        command = ("run", recordings, "-o", out, "--include", "*", "-f", "txt", "--progress", "none")
        result = emulator.run(*command)
    assert result.returncode == 3, result.stdout + result.stderr
    assert "failed 4" in result.stdout
    assert "symbolic link" in result.stdout
    assert tree(elsewhere) == {b"mine.txt": b"mine"}
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "elsewhere"}
    written = [path for path in out.rglob("*.txt") if path.is_file() and not path.is_symlink()]
    assert len(written) == sum(not name.startswith(b".") for name in NAMES)  # hidden recordings are not looked for
    assert all(path.resolve().is_relative_to(out.resolve()) for path in written)


@pytest.mark.parametrize("name", [".batcher", ".batcher/jobs.sqlite3", ".batcher/last-run.json", ".batcher/requests"])
def test_a_link_in_place_of_what_a_batch_keeps_is_refused(name: str, tmp_path: Path) -> None:
    """An unpacked OUT could otherwise have any file of the user's overwritten, and any directory's rights changed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".batcher").mkdir() if "/" in name else None
    (tmp_path / "out" / name).symlink_to(elsewhere)
    with pytest.raises(MachineRefuses, match="is a symbolic link") as caught:
        private_directory(tmp_path / "out" / ".batcher")
    assert "--db" in caught.value.hint
    assert tree(elsewhere) == {}
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_a_fifo_or_a_directory_in_place_of_an_output_fails_only_its_job(tmp_path: Path) -> None:
    """Neither is waited for."""
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "b.txt").mkdir()
    for name in ("a.txt", "b.txt"):
        with pytest.raises(OutputError):
            write_output(tmp_path, name, b"words", replace=False)


@pytest.mark.parametrize(
    ("make", "given"),
    [(output_name, name) for name in NAMES]
    + [
        (url_output, b"http://example.com/../../etc/passwd"),
        (url_output, b"http://example.com/%2e%2e/%2e%2e/etc/passwd"),
        (url_output, b"http://../x"),
        (url_output, b"http://example.com/%00/%0a"),
    ],
)
def test_a_name_stays_below_out(make: Callable[[bytes], str], given: bytes) -> None:
    """By its parts, and where it is really written."""
    parts = make(given).split("/")
    assert parts
    assert not {"", ".", ".."} & set(parts)
    assert not any(part.startswith(".batcher") or "\\" in part or not part.isprintable() for part in parts)
