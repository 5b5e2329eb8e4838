"""Nothing that comes from others can drive the terminal: names, the service's texts, its ids, models and references."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from batcher.cli.app import main
from batcher.cli.live import LiveView
from batcher.cli.views import JsonView, PlainView
from batcher.render import FORMATS
from batcher.states import Event, State
from batcher.store.table import Move
from batcher.text import UNSAFE
from tests.emulated import make_recordings
from tests.hostile import call, gossiping

#: A title, a cleared screen, a second line, colours by one byte, a turned direction, and markup of rich.
TEXT = "bad\x1b]0;title\x07\x1b[2J\r\nfailed 0, all is well\x9b31m\u202egnp.exe\u2028\x00\x7f[bold]"
NAME = "a\x1b[2J\u202e\n\x9b.wav"


def unsafe(text: str) -> set[str]:
    """Return the unsafe characters of what was printed; lines end as they do."""
    return {repr(character) for character in UNSAFE.findall(text.replace("\n", ""))}


def unsafe_lines(text: str, known: Iterable[str] = ("failed 0, all is well",)) -> list[str]:
    """Return lines that begin with words of the hostile text: it broke the line before."""
    return [line for line in text.splitlines() if line.startswith(tuple(known))]


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_what_a_hostile_service_says_is_spelled_out_everywhere(
    api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In what run, reconcile, list, show, status and doctor print, for people and as JSON."""
    make_recordings(tmp_path / "in", 1)
    (tmp_path / "in" / NAME).write_bytes(next((tmp_path / "in").rglob("*.wav")).read_bytes() + b"\x00\x00")
    out = str(tmp_path / "out")
    with gossiping(api, TEXT) as environment:
        ran = call(environment | {"SONIOX_API_KEY": "k"}, "run", tmp_path / "in", "-o", out, "--progress", "plain")
        assert ran.returncode == 3, ran.stderr
        for name, value in (environment | {"SONIOX_API_KEY": "k"}).items():
            monkeypatch.setenv(name, value)
        verbs = [["list", out], ["show", out, "1"], ["show", out, "2"], ["status", out], ["doctor", out]]
        json_verbs = [[*verb, "--json"] for verb in verbs[:-1]]
        assert [main(verb) for verb in (*verbs, *json_verbs)] == [0] * 9
        assert main(["reconcile", out, "--progress", "plain"]) == 3
    printed = capsys.readouterr()
    text = ran.stdout.decode() + ran.stderr.decode() + printed.out + printed.err
    assert text.count("gnp.exe") > 8
    assert "1 of others" in text  # what others hold is counted, and not quoted
    assert unsafe(text) <= {r"'\x7f'"}  # JSON leaves this one alone, and so do terminals
    assert unsafe_lines(text) == []


MOVE = Move(
    job=1, path=os.fsencode(NAME), attempt=1, at=0, source=State.FAILING, target=State.FAILED,
    event=Event.CLEARED, detail=TEXT,
)  # fmt: skip


@pytest.mark.parametrize("view", [PlainView, JsonView])
def test_a_view_spells_out_what_it_is_told(view: type[PlainView], capsys: pytest.CaptureFixture[str]) -> None:
    """JSON by its own escapes, and one line stays one line."""
    import sys  # noqa: PLC0415 - the stream that is captured now

    view(sys.stdout).moved(MOVE)
    text = capsys.readouterr().out
    assert unsafe(text) <= {r"'\x7f'"}
    assert [json.loads(line)["reason"] for line in text.splitlines() if view is JsonView] in ([], [TEXT, TEXT])
    assert unsafe_lines(text) == []


def test_the_live_view_sends_no_escape_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    """Those it sends itself are known: colours, the cursor, and lines to be drawn again."""
    view = LiveView()
    view.moved(MOVE)
    view.note(TEXT)
    view.close()
    text = re.sub(r"\x1b\[(\?25[lh]|[0-9;]*m|[12]K|[0-9]*A)|\r", "", capsys.readouterr().out)
    assert "gnp.exe" in text
    assert unsafe(text) == set()
    assert unsafe_lines(text) == []


def test_a_note_of_the_plain_view_is_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    """It may quote a configuration file."""
    import sys  # noqa: PLC0415 - the stream that is captured now

    PlainView(sys.stdout).note(TEXT)
    assert unsafe(capsys.readouterr().out) == set()


def test_a_name_taken_for_an_option_is_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    """`batcher run * -o out` gives the command every name there is, also one that begins with a dash."""
    assert main(["run", f"--{NAME}", "-o", "x"]) == 2
    printed = capsys.readouterr()
    assert unsafe(printed.out + printed.err) == set()


def test_no_format_is_a_table_that_calculates() -> None:
    """No CSV or TSV is written.

    Whoever adds one: a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return is a formula
    to spreadsheets. Put a ``'`` before it, and test that here.
    """
    assert sorted(FORMATS) == ["json", "srt", "txt", "vtt"]
