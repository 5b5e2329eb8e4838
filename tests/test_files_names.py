"""Output names: readable, the same every time, safe on every file system, and never outside of OUT."""

import os
from unicodedata import category, normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batcher.files import fold, output_name, with_suffix

parts = st.binary(max_size=300) | st.sampled_from(
    [b"..", b".", b"", b"con", b"NUL.txt", b"a.", b"~", b".batcher", b"x"]
)
paths = st.lists(parts, max_size=6).map(b"/".join)


@pytest.mark.parametrize(
    ("relative", "name"),
    [
        (b"a/talk.mp3", "a/talk.mp3"),
        ("Größe 東京/été.mp3".encode(), "Größe 東京/été.mp3"),
        (b"caf\xe9.mp3", "caf%E9.mp3"),
        (b"red\x1b[31m.mp3", "red%1B[31m.mp3"),
        (b"two\nlines.mp3", "two%0Alines.mp3"),
        ("gpj.\u202e3pm".encode(), "gpj.%E2%80%AE3pm"),
        (b"../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
        (b"/etc/passwd", "etc/passwd"),
        (b"a//./b.mp3", "a/b.mp3"),
        (b"nul\0byte", "nul%00byte"),
        (b"back\\slash.mp3", "back%5Cslash.mp3"),
        (b"C:/talk", "C:/talk"),
        (b"con/NUL.mp3", "con_/NUL_.mp3"),
        ("COM¹.mp3".encode(), "COM¹_.mp3"),
        (b"console.mp3", "console.mp3"),
        (b"dir. ./talk. ", "dir%2E%20%2E/talk%2E%20"),
        (b".Batcher/x", "%2EBatcher/x"),
        (b".batcher-1-2.tmp", "%2Ebatcher-1-2.tmp"),
        (b".hidden.mp3", ".hidden.mp3"),
        (b"", "unnamed"),
        (b"./", "unnamed"),
    ],
)
def test_a_name_stays_readable_and_is_made_safe(relative: bytes, name: str) -> None:
    """Each kind of trouble has its one spelling."""
    assert output_name(relative) == name


@given(paths)
@example(b"\xe2\x80\xae/../" + b"\xff" * 255 + b".mp3")
def test_any_path_stays_inside_out(relative: bytes) -> None:
    """No bytes lead out of OUT, into its own directory, or hold a character that a terminal obeys."""
    name = output_name(relative)
    assert os.path.normpath(f"/out/{name}") == f"/out/{name}"
    assert not any(category(c) in {"Cc", "Cs", "Zl", "Zp"} or c == "\\" for c in name)
    for part in name.split("/"):
        assert 0 < len(part.encode()) <= 200
        assert part[-1] not in ". "
        assert not fold(part).startswith(".batcher")


@given(paths)
def test_a_name_made_here_comes_out_unchanged(relative: bytes) -> None:
    """Naming twice is naming once."""
    name = output_name(relative)
    assert output_name(name.encode()) == name


def test_a_long_name_is_shortened_keeps_its_ending_and_stays_its_own() -> None:
    """Two long names that differ only at the end stay two, each with its ending, within 200 bytes."""
    one, two = (output_name("ü".encode() * 120 + tail + b".mp3") for tail in (b"1", b"2"))
    assert one != two
    assert one.endswith(".mp3")
    assert len(one.encode()) <= 200
    assert one.startswith("ü" * 90)


def test_a_long_ending_is_no_ending() -> None:
    """What follows the last dot of a sentence is cut like the rest."""
    name = output_name(b"see p. " + b"x" * 250)
    assert len(name) == 200
    assert name.startswith("see p. xxx")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Talk.MP3", "talk.mp3"), ("e\u0301te\u0301", "été"), ("straße", "STRASSE"), ("Σ", "ς")],
)
def test_names_that_a_file_system_may_take_for_one_fold_to_one(one: str, other: str) -> None:
    """Case and composition make no difference to the key."""
    assert fold(one) == fold(other)


@given(st.text())
@example("A\u0345\u0300")
def test_folding_ignores_case_and_composition_of_any_text(text: str) -> None:
    """The key of a key is the key; composing and decomposing do not change it."""
    assert fold(fold(text)) == fold(text)
    assert fold(normalize("NFC", text)) == fold(normalize("NFD", text)) == fold(text)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("talk.mp3", "talk~3f9a2c.mp3"),
        ("a.b/talk", "a.b/talk~3f9a2c"),
        (".hidden", ".hidden~3f9a2c"),
        ("a/" + "x" * 196 + ".mp3", "a/" + "x" * 189 + "~3f9a2c.mp3"),
    ],
)
def test_a_name_that_is_taken_gets_its_tag_before_the_ending(name: str, other: str) -> None:
    """The alternative is the same every time and no longer than a name may be."""
    assert with_suffix(name, "3f9a2c") == other
    assert output_name(other.encode()) == other
