"""Walking inputs: what is found, in which order, and what never is."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batcher.errors import UsageError
from batcher.files import Found, WalkProblem, WalkRules, batches, walk
from batcher.files.walk import BATCH


def plant(root: Path, *names: str | bytes) -> None:
    """Make empty files below `root`, with their directories."""
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def look(root: Path, rules: WalkRules | None = None) -> tuple[list[bytes], list[WalkProblem]]:
    """Return the relative paths of one walk, and its problems."""
    problems: list[WalkProblem] = []
    steps = walk(os.fsencode(root), rules or WalkRules(), problems.append)
    return [found.relative for batch in steps for found in batch], problems


def names(root: Path, *include: str, exclude: tuple[str, ...] = (), out: bytes | None = None) -> list[bytes]:
    """Return the relative paths of one walk that had no problem."""
    found, problems = look(root, WalkRules(include, exclude, out))
    assert problems == []
    return found


@pytest.fixture
def foreign() -> Iterator[Path]:
    """Make a directory whose owner has no privileges, and be that owner for the test."""
    with tempfile.TemporaryDirectory() as directory:
        root = os.geteuid() == 0
        if root:
            os.chown(directory, 65534, 65534)
            os.seteuid(65534)
        yield Path(directory)
        if root:
            os.seteuid(0)


def test_the_order_is_that_of_the_names_whatever_the_disk_says(tmp_path: Path) -> None:
    """Files and directories are interleaved by the bytes of their names, at every walk."""
    plant(tmp_path, "z.mp3", "b/2.wav", "b/10.wav", "a.mp3", "b.mp3", "B.mp3", "ä.mp3", b"\xff.mp3")
    expected = [b"B.mp3", b"a.mp3", b"b.mp3", b"b/10.wav", b"b/2.wav", b"z.mp3", "ä.mp3".encode(), b"\xff.mp3"]
    assert names(tmp_path) == expected


def test_a_found_file_carries_what_the_table_needs(tmp_path: Path) -> None:
    """The path is absolute, and size, time and identity are the file's."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "talk.mp3").write_bytes(b"12345")
    status = (tmp_path / "a" / "talk.mp3").stat()
    [batch] = walk(os.fsencode(tmp_path), WalkRules(), lambda problem: pytest.fail(str(problem)))
    path = os.fsencode(tmp_path / "a" / "talk.mp3")
    assert batch == [Found(path, b"a/talk.mp3", 5, status.st_mtime_ns, status.st_dev, status.st_ino)]


def test_only_recordings_are_found_and_nothing_hidden(tmp_path: Path) -> None:
    """The ending decides, in any case; names that begin with a dot are left out, with all below them."""
    plant(tmp_path, "a.MP3", "b.txt", "c", "mp3", "d.mp3.txt", "e.webm", ".f.mp3", ".git/g.mp3", ".batcher/h.mp3")
    assert names(tmp_path) == [b"a.MP3", b"e.webm"]


def test_the_output_directory_is_not_entered_by_its_name_or_another(tmp_path: Path) -> None:
    """OUT below the input is left out, also when a link leads to it or when it does not exist yet."""
    plant(tmp_path, "a.mp3", "out/b.mp3", "outer/c.mp3")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    out = os.fsencode(tmp_path / "out")
    assert names(tmp_path, out=out) == [b"a.mp3", b"outer/c.mp3"]
    assert names(tmp_path, out=os.fsencode(tmp_path / "link")) == [b"a.mp3", b"outer/c.mp3"]


def test_an_output_directory_that_appears_during_the_walk_is_not_entered(tmp_path: Path) -> None:
    """A directory that was not there at the start is known by its path."""
    plant(tmp_path, "b/c.mp3")
    (tmp_path / "a.mp3").symlink_to("nowhere")
    rules = WalkRules(out=os.fsencode(tmp_path / "b" / "new"))
    [batch] = walk(os.fsencode(tmp_path), rules, lambda _: plant(tmp_path, "b/new/d.mp3"))
    assert (tmp_path / "b" / "new").exists()
    assert [found.relative for found in batch] == [b"b/c.mp3"]


def test_an_input_that_is_the_output_directory_is_still_walked(tmp_path: Path) -> None:
    """Transcripts may stand beside their recordings."""
    plant(tmp_path, "a.mp3", "a.mp3.txt", ".batcher/x.mp3")
    assert names(tmp_path, out=os.fsencode(tmp_path)) == [b"a.mp3"]


def test_links_to_files_count_and_links_to_directories_are_followed_once(tmp_path: Path) -> None:
    """A linked directory comes last and only if it was not met under its own name; circles end."""
    inside, outside = tmp_path / "in", tmp_path / "outside"
    plant(inside, "z/real.mp3")
    plant(outside, "far.mp3")
    (inside / "a").symlink_to(inside / "z")
    (inside / "b").symlink_to(outside)
    (inside / "c").symlink_to(outside)
    (inside / "d.mp3").symlink_to(outside / "far.mp3")
    (inside / "z" / "up").symlink_to("..")
    (outside / "back").symlink_to(inside)
    assert names(inside) == [b"d.mp3", b"z/real.mp3", b"b/far.mp3"]


def test_linked_directories_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Links are as stable as the rest."""
    (tmp_path / "in").mkdir()
    for number in range(20):
        plant(tmp_path, f"{number}/talk.mp3")
        (tmp_path / "in" / f"{number:02}").symlink_to(tmp_path / str(number))
    assert names(tmp_path / "in") == [b"%02d/talk.mp3" % number for number in range(20)]


def test_what_cannot_be_looked_into_is_reported_and_the_walk_goes_on(tmp_path: Path) -> None:
    """A link to nothing, a link in a circle and a pipe are named with their reasons."""
    plant(tmp_path, "z.mp3")
    (tmp_path / "a.mp3").symlink_to("nowhere")
    (tmp_path / "b.mp3").symlink_to("b.mp3")
    os.mkfifo(tmp_path / "c.mp3")
    (tmp_path / "d.txt").symlink_to("nowhere")
    found, problems = look(tmp_path)
    assert found == [b"z.mp3"]
    assert problems == [
        WalkProblem(os.fsencode(tmp_path / "a.mp3"), "a link to nothing", hides=False),
        WalkProblem(os.fsencode(tmp_path / "b.mp3"), "a link to nothing", hides=False),
        WalkProblem(os.fsencode(tmp_path / "c.mp3"), "it is not a regular file", hides=False),
    ]


def test_a_directory_that_may_not_be_read_is_reported(foreign: Path) -> None:
    """Permission denied on one directory does not end the walk."""
    plant(foreign, "a.mp3", "b/c.mp3", "d/e.mp3")
    (foreign / "b").chmod(0)
    found, problems = look(foreign)
    assert found == [b"a.mp3", b"d/e.mp3"]
    assert problems == [WalkProblem(os.fsencode(foreign / "b"), "permission denied")]


def test_a_tree_deeper_than_a_path_may_be_long_is_reported(tmp_path: Path) -> None:
    """Neither Python's stack nor the kernel's limit of a path's length ends the walk with an error."""
    directory = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir(b"d" * 100, dir_fd=directory)
        below = os.open(b"d" * 100, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(directory)
    plant(tmp_path, "z.mp3")
    found, problems = look(tmp_path)
    assert found == [b"z.mp3"]
    assert [problem.reason for problem in problems] == ["the name is too long"]


def test_a_single_file_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    """Whoever names a file means it, even hidden."""
    plant(tmp_path, ".notes.txt")
    assert names(tmp_path / ".notes.txt", "*.mp3") == [b".notes.txt"]


@pytest.mark.parametrize("missing", [b"nowhere", b"", b"nul\0", b"/dev/null"])
def test_an_input_that_is_not_there_is_a_usage_error(missing: bytes) -> None:
    """A mistyped input is told at the first step."""
    with pytest.raises(UsageError):
        next(walk(missing, WalkRules(), print))


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("*.txt",), (), [b"n.txt", b"old/n.txt"]),
        ((), ("old/**",), [b"a.mp3", b"b[1].wav", b"new/old/d.mp3"]),
        ((), ("old",), [b"a.mp3", b"b[1].wav"]),
        ((), ("/old/",), [b"a.mp3", b"b[1].wav", b"new/old/d.mp3"]),
        ((), ("a.mp3/",), [b"a.mp3", b"b[1].wav", b"new/old/d.mp3", b"old/c.mp3", b"old/deep/e.mp3"]),
        (("old",), (), [b"new/old/d.mp3", b"old/c.mp3", b"old/deep/e.mp3", b"old/n.txt"]),
        (("old/*.mp3",), (), [b"old/c.mp3"]),
        (("old/**/*.mp3",), (), [b"old/c.mp3", b"old/deep/e.mp3"]),
        (("**/old/*.mp3",), (), [b"new/old/d.mp3", b"old/c.mp3"]),
        (("[a-b].???", r"b\[1].wav"), (), [b"a.mp3", b"b[1].wav"]),
        (("[!a-d].mp3",), (), [b"old/deep/e.mp3"]),
        (("old[!x]c.mp3", "old?c.mp3", "old*c.mp3", "old[+-9]c.mp3"), (), []),
        (("*.MP3", "*[.]wav"), (), [b"b[1].wav"]),
        (("*",), ("*.mp3", "*.wav"), [b"n.txt", b"old/n.txt"]),
    ],
)
def test_patterns_choose_on_the_path_below_the_input(
    tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], expected: list[bytes]
) -> None:
    """Globs mean what they mean in a gitignore file; exclude wins."""
    plant(tmp_path, "a.mp3", "b[1].wav", "n.txt", "old/c.mp3", "old/n.txt", "old/deep/e.mp3", "new/old/d.mp3")
    assert names(tmp_path, *include, exclude=exclude) == expected


def test_an_excluded_directory_is_not_even_opened(foreign: Path) -> None:
    """What is excluded costs nothing and cannot be a problem."""
    plant(foreign, "a.mp3", "old/b.mp3")
    (foreign / "old").chmod(0)
    assert names(foreign, exclude=("old/**",)) == [b"a.mp3"]


@pytest.mark.parametrize("pattern", ["", "/", "a\0b", "[z-a]"])
def test_a_pattern_that_can_match_nothing_is_a_usage_error(tmp_path: Path, pattern: str) -> None:
    """A pattern that is a mistake is told, not ignored."""
    with pytest.raises(UsageError):
        names(tmp_path, pattern)


@pytest.mark.parametrize("pattern", ["[]", "[!]", "[[x]", "[+--]", "[", "a&&[||~~]", "\\"])
def test_odd_brackets_in_a_pattern_are_taken_as_they_are(tmp_path: Path, pattern: str) -> None:
    """Brackets that are no class are characters, and nothing in one has a second meaning."""
    plant(tmp_path, "x.mp3")
    assert names(tmp_path, exclude=(pattern,)) == [b"x.mp3"]


@pytest.mark.anyio
async def test_a_large_directory_comes_in_batches_and_problems_in_the_loop(tmp_path: Path) -> None:
    """The loop gets about a thousand files at a time; nothing is lost between two of them."""
    plant(tmp_path, *(f"{number:05}.mp3" for number in range(2 * BATCH + 7)))
    (tmp_path / "00000a.mp3").symlink_to("nowhere")
    problems: list[WalkProblem] = []
    steps = [batch async for batch in batches(os.fsencode(tmp_path), WalkRules(), problems.append)]
    assert [len(batch) for batch in steps] == [BATCH, BATCH, 7]
    assert [found.relative for batch in steps for found in batch] == [b"%05d.mp3" % n for n in range(2 * BATCH + 7)]
    assert len(problems) == 1


@pytest.mark.anyio
async def test_a_missing_input_is_a_usage_error_from_the_thread_too(tmp_path: Path) -> None:
    """The error crosses the thread unchanged."""
    with pytest.raises(UsageError):
        await anext(batches(os.fsencode(tmp_path / "nowhere"), WalkRules(), print))
