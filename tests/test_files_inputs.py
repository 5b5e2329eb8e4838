"""What a run looks through: arguments, lists, URLs, and the roots that outputs mirror."""

from pathlib import Path

import pytest

from batcher.errors import UsageError
from batcher.files import gather


def test_a_missing_line_of_a_list_moves_no_output(tmp_path: Path) -> None:
    """The root is that of what is there; the missing one is told by the scan."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").touch()
    listed = tmp_path / "list"
    listed.write_text(f"{tmp_path / 'a' / 'x.wav'}\n/nowhere/z.wav\n")
    inputs = gather([], [str(listed)])
    assert inputs.roots == [bytes(tmp_path / "a")]
    assert [each.path for each in inputs.paths] == [bytes(tmp_path / "a" / "x.wav"), b"/nowhere/z.wav"]


def test_the_entries_of_all_lists_have_one_root(tmp_path: Path) -> None:
    """The deepest directory that holds them all; an argument has its own."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").touch()
    listed = tmp_path / "list"
    listed.write_text(f"{tmp_path / 'a' / 'x.wav'}\r\n\n{tmp_path / 'b' / 'x.wav'}\nhttps://h.example/y.mp3\n")
    inputs = gather([str(tmp_path / "c")], [str(listed)])
    assert inputs.roots == [bytes(tmp_path / "c"), bytes(tmp_path)]
    assert inputs.urls == (b"https://h.example/y.mp3",)


def test_a_missing_argument_or_list_is_a_usage_error(tmp_path: Path) -> None:
    """Before anything is made."""
    for arguments, lists in (([str(tmp_path / "x")], []), ([], [str(tmp_path / "x")])):
        with pytest.raises(UsageError):
            gather(arguments, lists)
