"""Shards: which recordings belong to which, and how every verb finds the table of its own."""

import os
import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher.cli.place import locate, place_of, shards_in
from batcher.cli.session import prepare
from batcher.cli.settings import read_settings
from batcher.errors import UsageError
from batcher.files import Input, Inputs, OutputError, WalkRules, gather, sweep_temporaries, write_output
from batcher.files.temporaries import open_temporary
from batcher.local_disk import LocalDisk
from batcher.model import FileBounds
from batcher.shard import MOST, Shard, check_shard, parse_shard, parse_tag
from batcher.store.shard import keep_to
from tests.table_tools import written

# Which recordings.


def test_a_part_is_written_as_which_of_how_many() -> None:
    """In whatever spaces; nothing is no part."""
    assert parse_shard(" 2 / 4") == Shard(2, 4)
    assert parse_shard("") is None
    assert check_shard("02/4") == "2/4"
    assert check_shard(7) == 7  # refused where types are
    assert parse_tag(Shard(2, 4).tag) == Shard(2, 4)
    assert parse_tag("2-of-x") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2", "must be like 2/4"),
        ("2/", "must be like 2/4"),
        ("a/b", "must be like 2/4"),
        ("-1/4", "must be like 2/4"),
        ("5/4", "there is no part 5 of 4"),
        ("0/0", "there is no part 0 of 0"),
        (f"1/{MOST + 1}", "there is no part 1 of"),
        ("0/4", "to an index that begins with 0 add 1"),
    ],
)
def test_a_part_that_there_cannot_be_is_refused(text: str, words: str) -> None:
    """With what to do about an index that counts from zero, as those of Kubernetes do."""
    with pytest.raises(ValueError, match=words):
        parse_shard(text)


def names() -> list[bytes]:
    """Return paths as people have them, and some that are no text."""
    return [b"%d/call \xff %d.mp3" % (number % 7, number) for number in range(4_000)]


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 16, 100])
def test_every_recording_is_in_exactly_one_part_and_the_parts_are_alike(parts: int) -> None:
    """By nothing but its path below the input."""
    found = Counter(part for name in names() for part in range(1, parts + 1) if Shard(part, parts).holds(name))
    assert found.total() == len(names())
    assert set(found) == set(range(1, parts + 1))
    fair = len(names()) / parts
    assert all(abs(count - fair) < 5 * fair**0.5 for count in found.values())


def test_the_parts_are_the_same_for_ever() -> None:
    """Another version that divides otherwise would do half of a batch twice, and the other half never."""
    named = [b"calls/monday.mp3", b"calls/tuesday.mp3", "café.wav".encode(), b"https://a.example/x.mp3", b"\xff"]
    assert [next(part for part in range(1, 9) if Shard(part, 8).holds(name)) for name in named] == GOLDEN


GOLDEN = [8, 2, 6, 5, 2]


def scan(
    folder: Path, *entries: Input, urls: tuple[bytes, ...] = (), shard: Shard | None = None
) -> tuple[list[str], int]:
    """Scan inputs for one part; return the outputs of what was found, and how many were left to others."""
    disk = LocalDisk(
        Inputs(entries, urls), folder / "out", folder, rules=WalkRules(), bounds=FileBounds(), raw=False, shard=shard
    )

    async def found() -> list[str]:
        scanned = [found async for found in disk.scan({entry.root: "" for entry in entries})]
        return [candidate.output for candidates in scanned for candidate in candidates]

    return anyio.run(found), disk.elsewhere


def make(folder: Path, count: int = 60) -> Input:
    """Make so many recordings below `folder`, and return it as an input."""
    for number in range(count):
        path = folder / str(number % 5) / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    return Input(os.fsencode(folder), os.fsencode(folder))


def test_the_parts_are_the_same_wherever_the_input_is_mounted(tmp_path: Path) -> None:
    """Each machine finds its own recordings, and counts what it leaves to the others."""
    here, there = make(tmp_path / "here" / "input"), make(tmp_path / "there" / "mnt")
    everything: list[str] = []
    for part in (1, 2, 3):
        found, elsewhere = scan(tmp_path, here, shard=Shard(part, 3))
        assert (found, elsewhere) == scan(tmp_path, there, shard=Shard(part, 3))
        assert elsewhere == 60 - len(found)
        everything += found
    assert len(set(everything)) == len(everything) == 60


def divided(folder: Path, inputs: Inputs) -> list[list[bytes]]:
    """Return the paths that each of two parts finds in these inputs."""
    parts = []
    for part in (1, 2):
        found = scan_paths(folder, inputs, Shard(part, 2))
        assert len(set(found)) == len(found)
        parts.append(found)
    return parts


def scan_paths(folder: Path, inputs: Inputs, shard: Shard) -> list[bytes]:
    """Scan inputs for one part; return the paths of what was found, each once, as the table takes them."""
    disk = LocalDisk(inputs, folder / "out", folder, rules=WalkRules(), bounds=FileBounds(), raw=False, shard=shard)

    async def found() -> list[bytes]:
        scanned = [found async for found in disk.scan(dict.fromkeys(inputs.roots, ""))]
        return list(dict.fromkeys(candidate.path for candidates in scanned for candidate in candidates))

    return anyio.run(found)


def listing(folder: Path, *lines: str) -> str:
    """Write a list, and return its name."""
    path = folder / f"list-{len(list(folder.iterdir()))}"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_what_a_list_names_is_divided_by_its_own_line(tmp_path: Path) -> None:
    """Another line that comes, goes or leads nowhere moves no recording into another part, nor out of every part."""
    make(tmp_path / "L" / "a", 20)
    for number in range(20):
        (tmp_path / "L" / "a" / str(number % 5) / f"{number}.wav").rename(tmp_path / "L" / "a" / f"{number}.wav")
    lines = [f"{tmp_path}/L/a/{number}.wav" for number in range(20)]
    (tmp_path / "L" / "b").mkdir()
    (tmp_path / "L" / "b" / "0.wav").touch()
    both = divided(tmp_path, gather([], [listing(tmp_path, *lines, f"{tmp_path}/L/b/0.wav")]))
    (tmp_path / "L" / "b" / "0.wav").unlink()
    gone = divided(tmp_path, gather([], [listing(tmp_path, *lines, f"{tmp_path}/L/b/0.wav")]))
    alone = divided(tmp_path, gather([], [listing(tmp_path, *lines)]))
    assert gone == alone == [[path for path in part if b"/L/b/" not in path] for part in both]
    assert min(map(len, alone)) > 3
    assert sum(map(len, both)) == 21


def test_a_list_divides_what_is_mounted_elsewhere_alike_if_its_lines_are_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line is what it says, not where that leads; a directory's recordings go by the line and the path below it."""
    found = []
    for place in ("here", "there"):
        make(tmp_path / place / "in")
        monkeypatch.chdir(tmp_path / place)
        lines = divided(tmp_path, gather([], [listing(tmp_path, "./in/0", "in/1//")]))
        found.append([[path.removeprefix(bytes(tmp_path / place)) for path in part] for part in lines])
    assert found[0] == found[1]
    assert sum(map(len, found[0])) == 24
    assert min(map(len, found[0])) > 3


@pytest.mark.parametrize("order", [("D", "D/1"), ("D/1", "D"), ("D", "D/1/1.wav"), ("D", "D/1", "D/1/1.wav")])
def test_inputs_that_lie_in_one_another_give_a_recording_one_name(
    order: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the outermost of them, whether an argument or a list names it: it is in one part, and paid for once."""
    make(tmp_path / "D", 40)
    monkeypatch.chdir(tmp_path)
    twice = listing(tmp_path, *order, *(str(tmp_path / each) for each in order))
    for inputs in (gather(order), gather(order[:1], [listing(tmp_path, *order[1:])]), gather([], [twice])):
        (one, other) = divided(tmp_path, inputs)
        assert not set(one) & set(other)
        assert len(one) + len(other) == 40
    alone = divided(tmp_path, gather(["D"]))
    assert [sorted(part) for part in divided(tmp_path, gather(order))] == [sorted(part) for part in alone]


def test_a_file_system_itself_may_hold_an_input(tmp_path: Path) -> None:
    """The outermost directory has no name but its slash."""
    make(tmp_path / "D", 3)
    names = [each.named(each.path + b"/x.wav") for each in gather(["/", str(tmp_path / "D")]).paths]
    assert names == [b"x.wav", bytes(tmp_path / "D" / "x.wav").lstrip(b"/")]


def test_urls_are_divided_by_their_whole_text(tmp_path: Path) -> None:
    """Also by what comes after a question mark, which names another recording."""
    urls = tuple(b"https://a.example/talk.mp3?number=%d" % number for number in range(40))
    (one, left), (other, left_too) = (scan(tmp_path, urls=urls, shard=Shard(part, 2)) for part in (1, 2))
    assert (len(one), len(other)) == (left_too, left)
    assert min(len(one), len(other)) > 5
    assert len(one) + len(other) == 40


def test_urls_of_one_path_have_outputs_of_their_own_in_every_shard(tmp_path: Path) -> None:
    """No table tells a shard which names the others have taken; without shards the plain name goes to the first."""
    urls = tuple(b"https://a.example/talk.mp3?number=%d" % number for number in range(40))
    found = [
        name
        for part in (1, 2)
        for name in scan(tmp_path, urls=(*urls, b"https://a.example/talk.mp3"), shard=Shard(part, 2))[0]
    ]
    assert len(set(found)) == 41
    assert "a.example/talk.mp3" in found
    assert sum(name.startswith("a.example/talk~") and name.endswith(".mp3") for name in found) == 40
    assert set(scan(tmp_path, urls=urls)[0]) == {"a.example/talk.mp3"}


def test_what_to_do_about_another_shards_file_is_said(tmp_path: Path) -> None:
    """A retry cannot help: the file is where it belongs. The table has the transcript, which another OUT takes."""
    (tmp_path / "a.wav.txt").write_bytes(b"theirs")
    for shard, words in (
        (Shard(1, 2), "run this one with another OUT, and with --db"),
        (None, "not one of this batch$"),
    ):
        disk = LocalDisk(Inputs(), tmp_path, tmp_path, rules=WalkRules(), bounds=FileBounds(), raw=False, shard=shard)
        with pytest.raises(OutputError, match=words):
            anyio.run(partial(disk.write, [("a.wav.txt", b"ours")], replace=False))


def test_without_shards_nothing_is_left_to_others(tmp_path: Path) -> None:
    """One machine does it all."""
    found, elsewhere = scan(tmp_path, make(tmp_path / "in"))
    assert (len(found), elsewhere) == (60, 0)


# Where their tables are.


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith("BATCHER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))


def table(out: Path, shard: str, jobs: int = 1, *, db: Path | None = None) -> Path:
    """Make the table of a shard with so many jobs, as a run would; return where it is."""
    place = place_of(out, db, shard)
    place.state.mkdir(parents=True, exist_ok=True)
    with written(place.db, Path("/in")) as hand:
        hand.act(lambda ledger: keep_to(ledger, shard))
        hand.add(*(f"{number}.wav" for number in range(jobs)))
    return place.db


def test_shards_with_one_out_have_everything_but_the_outputs_for_themselves(tmp_path: Path) -> None:
    """Table, lock, log, requests and the memory of the latest run."""
    whole, one, other = (place_of(tmp_path, None, shard) for shard in ("", "1/2", "2/2"))
    files = [[place.db, place.lock, place.log, place.requests, place.last_run] for place in (whole, one, other)]
    assert len({path for paths in files for path in paths}) == 15
    assert one.db == tmp_path / ".batcher" / "shard-1-of-2" / "jobs.sqlite3"
    assert (whole.typed, one.typed) == (str(tmp_path), f"{tmp_path} --shard 1/2")


def test_the_table_of_the_only_shard_is_found_without_a_word(tmp_path: Path) -> None:
    """And so is one without shards, whatever lies beside it."""
    db = table(tmp_path, "3/4")
    assert locate(tmp_path, None).db == db
    table(tmp_path, "")
    table(tmp_path, "4/4")
    assert locate(tmp_path, None).shard is None


def test_one_of_several_shards_has_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an option, a variable or the configuration; the complaint says what to type."""
    for part in (2, 1, 10):
        table(tmp_path, f"{part}/10")
    with pytest.raises(UsageError, match="3 tables here: shards 1/10, 2/10, 10/10") as caught:
        locate(tmp_path, None)
    assert caught.value.hint == "Say which: --shard 1/10"
    assert [str(shard) for shard in shards_in(tmp_path)] == ["1/10", "2/10", "10/10"]
    file = tmp_path / "batcher.toml"
    file.write_text('shard = "10/10"\n')
    assert str(locate(tmp_path, None, file).shard) == "10/10"
    monkeypatch.setenv("BATCHER_SHARD", "2/10")
    assert str(locate(tmp_path, None, file).shard) == "2/10"
    assert str(locate(tmp_path, None, file, "1/10").shard) == "1/10"
    with pytest.raises(UsageError, match="shard: must be like 2/4"):
        locate(tmp_path, None, file, "first")


def test_an_out_begun_with_one_division_takes_no_other(tmp_path: Path) -> None:
    """A recording would be in two tables, and paid for twice. What to type is said."""
    table(tmp_path / "four", "2/4")
    with pytest.raises(UsageError, match="begun with 4 shards") as caught:
        prepare(place_of(tmp_path / "four", None, "2/8"))
    assert "--shard 2/4" in caught.value.hint
    with pytest.raises(UsageError, match="begun with 4 shards") as caught:
        prepare(place_of(tmp_path / "four", None))
    assert "--shard 1/4" in caught.value.hint
    table(tmp_path / "whole", "")
    with pytest.raises(UsageError, match="begun without shards"):
        prepare(place_of(tmp_path / "whole", None, "2/4"))
    assert [path.name for path in (tmp_path / "four" / ".batcher").iterdir()] == ["shard-2-of-4"]
    prepare(place_of(tmp_path / "four", None, "3/4"))
    prepare(place_of(tmp_path / "whole", None))


def test_a_slip_that_found_nothing_yet_is_no_division(tmp_path: Path) -> None:
    """An empty table binds nobody; one that cannot be read does."""
    table(tmp_path, "2/8", jobs=0)
    prepare(place_of(tmp_path, None, "2/4"))
    table(tmp_path, "3/8", jobs=0).write_bytes(b"what is this")
    with pytest.raises(UsageError, match="begun with 8 shards"):
        prepare(place_of(tmp_path, None, "2/4"))


@pytest.mark.parametrize(("first", "second"), [("1/2", "1/3"), ("1/2", ""), ("", "1/3")])
def test_of_two_divisions_that_begin_at_the_same_moment_one_decides(first: str, second: str, tmp_path: Path) -> None:
    """It is written down before there is a table, and the other is told what to type; OUT stays usable."""
    prepare(place_of(tmp_path, None, first))
    with pytest.raises(UsageError, match=f"begun with{' 2 shards' if first else 'out shards'}") as caught:
        prepare(place_of(tmp_path, None, second))
    assert (" --shard 1/2" if first else "without --shard") in caught.value.hint
    parts = tmp_path / ".batcher" / "parts"
    assert f"remove {parts} first" in caught.value.hint
    assert parts.stat().st_mode & 0o077 == 0
    prepare(place_of(tmp_path, None, first))
    parts.unlink()
    prepare(place_of(tmp_path, None, second))


@pytest.mark.parametrize("quicker", ["1/4", "1/3"])
def test_another_that_was_quicker_by_a_moment_decides(
    quicker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the writing: of the same division it is welcome, of another it is not."""
    link = os.link

    def late(source: str, target: str, **places: Any) -> None:
        monkeypatch.setattr(os, "link", link)
        prepare(place_of(tmp_path, None, quicker))
        link(source, target, **places)

    monkeypatch.setattr(os, "link", late)
    if quicker == "1/4":
        prepare(place_of(tmp_path, None, "2/4"))
    else:
        with pytest.raises(UsageError, match="begun with 3 shards"):
            prepare(place_of(tmp_path, None, "2/4"))
    assert [path.name for path in (tmp_path / ".batcher").glob("*parts*")] == ["parts"]


def test_a_division_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Nobody knows what it was."""
    prepare(place_of(tmp_path, None, "1/2"))
    (tmp_path / ".batcher" / "parts").write_text("many")
    with pytest.raises(UsageError, match="cannot be understood"):
        prepare(place_of(tmp_path, None, "1/2"))


def test_an_early_kill_leaves_no_division_in_a_table(tmp_path: Path) -> None:
    """The file may be there without a byte, or without the tables in it."""
    table(tmp_path, "2/8", jobs=0).write_bytes(b"")
    empty = table(tmp_path, "3/8", jobs=0)
    empty.unlink()
    with closing(sqlite3.connect(empty)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
    prepare(place_of(tmp_path, None, "2/4"))


@pytest.mark.parametrize(("before", "after"), [("2/4", "2/8"), ("2/4", "3/4"), ("2/4", ""), ("", "2/4")])
def test_a_table_keeps_to_its_part_wherever_it_is(before: str, after: str, tmp_path: Path) -> None:
    """One that --db puts elsewhere knows by itself whose it is."""
    db = table(tmp_path, before, db=tmp_path / "a.sqlite3")
    with written(db, Path("/in")) as hand:
        hand.act(lambda ledger: keep_to(ledger, before))
        with pytest.raises(UsageError, match="this table holds") as caught:
            hand.act(lambda ledger: keep_to(ledger, after))
    assert (f"--shard {before}" if before else "without --shard") in caught.value.hint


def test_a_table_without_a_row_may_become_that_of_any_part(tmp_path: Path) -> None:
    """Nothing was found yet that another might find as well."""
    db = table(tmp_path, "2/4", jobs=0, db=tmp_path / "a.sqlite3")
    with written(db, Path("/in")) as hand:
        hand.act(lambda ledger: keep_to(ledger, "1/2"))
        hand.add("a.wav")
        with pytest.raises(UsageError):
            hand.act(lambda ledger: keep_to(ledger, "2/4"))


def test_a_part_is_read_from_every_source(tmp_path: Path) -> None:
    """And checked where it comes from."""
    assert read_settings(None, {}).plan().shard is None
    assert read_settings(None, {"shard": "2/4"}).plan().shard == Shard(2, 4)
    with pytest.raises(UsageError, match=r"shard \(from --shard\): must be like 2/4"):
        read_settings(None, {"shard": "9/4"})


# What they have in common.


def test_a_shard_sweeps_up_after_itself_alone(tmp_path: Path) -> None:
    """Another may be writing into the same directory at this moment."""
    for owner in ("", "1-of-2", "2-of-2"):
        _, handle = open_temporary(os.O_WRONLY, tmp_path, owner)
        os.close(handle)
    assert sweep_temporaries(tmp_path, [""], "1-of-2") == 1
    assert sweep_temporaries(tmp_path) == 1
    assert next(path.name for path in tmp_path.iterdir()).startswith(".batcher-2-of-2-")
    write_output(tmp_path, "a/b.txt", b"words", replace=False, owner="2-of-2")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_directories_made_by_several_at_once_are_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All shards begin at the same moment, and each makes OUT unless it is there."""
    mkdir = os.mkdir

    def late(path: str | bytes, mode: int = 0o777) -> None:
        mkdir(path, mode)
        raise FileExistsError(path)

    monkeypatch.setattr(os, "mkdir", late)
    prepare(place_of(tmp_path / "a" / "out", None, "2/4"))
    assert (tmp_path / "a" / "out" / ".batcher" / "shard-2-of-4").is_dir()
