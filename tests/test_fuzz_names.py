"""Names of every sort: inputs, URLs and outputs."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.errors import UsageError
from batcher.files import Inputs, fold, gather, output_name, url_output, with_suffix, write_output
from batcher.files.inputs import names_url

FEW = settings(max_examples=80, deadline=None)

urls = st.builds(
    lambda scheme, rest: scheme + rest,
    st.sampled_from([b"http://", b"https://"]),
    st.text("@:/?#%.~ \\2efaxyz\x1b&=;+\x00", max_size=40).map(str.encode),
).filter(names_url)


def check(name: str) -> None:
    """Check that a name leads to one place below OUT."""
    parts = name.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert all(len(part.encode()) <= 200 for part in parts)
    assert not any(fold(part).startswith(".batcher") for part in parts)
    assert output_name(name.encode()) == name


@FEW
@given(urls)
def test_the_output_of_any_url_stays_below_out(url: bytes) -> None:
    """Whatever its host and its path are."""
    check(url_output(url))


def test_a_url_may_have_letters_of_any_language() -> None:
    """The service may take it; its output has its name."""
    assert url_output("https://example.com/Gespr\u00e4ch.mp3".encode()) == "example.com/Gespr\u00e4ch.mp3"


@pytest.mark.parametrize("entry", [b"http://[", b"http://x/\xff", b"http:///a", b"ftp://x/a", b"https://x/a b"])
def test_what_cannot_be_a_url_is_a_name(entry: bytes) -> None:
    """Of a file that is not there, as the scan then says; it ends no run."""
    assert not names_url(entry)


@FEW
@given(st.binary(max_size=60), st.text("0123456789abcdef", min_size=6, max_size=6))
def test_an_alternative_name_is_a_name(path: bytes, tag: str) -> None:
    """Another one, below OUT, no longer than allowed; the same one for the same tag."""
    name = output_name(path)
    other = with_suffix(name, tag)
    check(name)
    check(other)
    assert fold(other) != fold(name)
    assert other == with_suffix(name, tag)


@FEW
@given(st.text())
def test_folding_twice_is_folding_once(name: str) -> None:
    """It is a key, so it must be stable."""
    assert fold(fold(name)) == fold(name)


@FEW
@given(st.lists(st.text(max_size=10) | st.sampled_from([".", "/", "", "http://x", "\udcff"]), max_size=3), st.binary())
def test_any_arguments_and_any_list_are_inputs_or_a_mistake(arguments: list[str], content: bytes) -> None:
    """A list may hold anything, a line at a time."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "list"
        listed.write_bytes(content)
        try:
            found = gather(arguments, [str(listed)])
        except UsageError:
            return
        assert isinstance(found, Inputs)
        assert all(os.path.isabs(each.path) for each in found.paths)  # noqa: PTH117 - bytes


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=40), st.sampled_from([".txt", ".json"]))
def test_any_name_can_be_written_where_it_says(path: bytes, ending: str) -> None:
    """On this file system, and nowhere else."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        out.mkdir()
        name = output_name(path) + ending
        write_output(out, name, b"words", replace=False)
        assert (out / name).read_bytes() == b"words"
        assert [each.name for each in Path(folder).iterdir()] == ["out"]
