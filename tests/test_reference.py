"""References: what is written is read back, and nobody else's label is taken for ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.reference import Reference, fingerprint, parse

HEX = "0123456789abcdef"
references = st.builds(
    Reference,
    batch=st.text(HEX, min_size=16, max_size=16),
    job=st.integers(1, 10**18 - 1),
    attempt=st.integers(1, 10**9 - 1),
    fingerprint=st.text(HEX, min_size=12, max_size=12),
)
PLAIN = "batcher1.0123456789abcdef.7.2.0123456789ab"


@given(references)
def test_a_reference_survives_the_round_trip(reference: Reference) -> None:
    """The label at the service names the attempt exactly."""
    assert parse(str(reference)) == reference


@given(references)
def test_a_reference_fits_the_service(reference: Reference) -> None:
    """By the documentation of both APIs a label has at most 256 characters; ours are plain ASCII."""
    assert len(str(reference)) <= 256
    assert str(reference).isascii()


@given(st.text())
def test_what_others_write_is_not_ours(text: str) -> None:
    """Any text is either no reference at all or spelled exactly as we spell it."""
    read = parse(text)
    assert read is None or str(read) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "other client", PLAIN + "\n", " " + PLAIN, PLAIN.upper(), PLAIN.replace(".7.", ".07."),
        PLAIN.replace(".7.", ".0."), PLAIN.replace(".2.", ".٢."), PLAIN.replace("batcher1", "batcher2"),
        PLAIN.replace(".7.", f".{10**18}."), PLAIN.replace(".2.", f".{10**9}."), PLAIN[:-1], PLAIN + "0",
    ],
)  # fmt: skip
def test_near_misses_are_not_ours(text: str) -> None:
    """Blanks, leading zeros, other digits and other versions do not pass."""
    assert parse(PLAIN) is not None
    assert parse(text) is None


@pytest.mark.parametrize(
    "changed",
    [(b"/b", 1, 2, "o"), (b"/a", 3, 2, "o"), (b"/a", 1, 3, "o"), (b"/a", 1, 2, "p")],
    ids=["path", "size", "time", "options"],
)
def test_the_fingerprint_follows_everything_known_before_sending(changed: tuple[bytes, int, int, str]) -> None:
    """Another path, size, time or set of options is another recording."""
    assert fingerprint(b"/a", 1, 2, "o") == fingerprint(b"/a", 1, 2, "o")
    assert fingerprint(*changed) != fingerprint(b"/a", 1, 2, "o")


def test_facts_do_not_run_into_each_other() -> None:
    """A digit more in one fact and one less in the next is not the same."""
    assert fingerprint(b"/a", 1, 23, "o") != fingerprint(b"/a", 12, 3, "o")
