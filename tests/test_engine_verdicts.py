"""Whole runs in virtual time: what was accepted and came to nothing is sent again by a person's wish only."""

from pathlib import Path
from random import Random

import pytest

from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import Work
from batcher.requests import Request
from tests.engine_bed import Bed, Stubborn
from tests.simulation.world import FLAC
from tests.test_engine import at, folder

__all__ = ["folder"]  # the fixture

NOISE = Random("noise").randbytes(3_000)
BOTH = pytest.mark.parametrize("api", ["grpc", "rest"])
ACTS = pytest.mark.parametrize("act", ["touched", "copied", "renamed", "copied and removed"])


def a_bed(folder: Path, api: str, times: int = 9) -> Bed:
    """Return a batch with a recording that the service fails so many times, and another one."""
    recognizer = Stubborn("The audio is too noisy", times, NOISE, error_type="audio_too_noisy")
    bed = Bed(folder, 1_000, recognizer=recognizer, api=api)
    bed.add("a.wav", content=NOISE)
    return bed


def accepted(bed: Bed) -> int:
    """Return how many submissions the service has accepted."""
    account = bed.rest if bed.api == "rest" else bed.account
    return account.tally.accepted.total()


def meddle(bed: Bed, act: str) -> str:
    """Do something to the recording `a.wav` that changes no audio, and return its name now."""
    if act == "touched":
        bed.change("a.wav", NOISE)
        return "a.wav"
    bed.add("b.wav", content=NOISE)
    if act != "copied":
        del bed.world.files[b"/in/a.wav"]
    if act == "copied and removed":
        bed.add("a.wav", 700)
    return "b.wav"


@BOTH
@ACTS
def test_what_the_service_failed_is_not_sent_again_under_another_name_or_time(folder: Path, api: str, act: str) -> None:
    """Nor with the third name; it says what became of it."""
    bed = a_bed(folder, api)
    assert bed.run() is None
    assert bed.states() == {"done": 1, "failed": 1}
    before = accepted(bed)
    name = meddle(bed, act)
    assert bed.run() is None
    assert bed.run() is None
    assert bed.state(name) == "failed"
    assert accepted(bed) == before + (act == "copied and removed")
    ((reason,),) = bed.rows("SELECT reason FROM job WHERE path = ?", f"/in/{name}".encode())
    assert str(reason).startswith("the service has failed this very audio before: ")
    assert str(reason).endswith("The audio is too noisy; `batcher retry` sends it again")


@BOTH
@ACTS
def test_what_was_given_up_at_the_service_is_not_sent_again(folder: Path, api: str, act: str) -> None:
    """A cancelled recording that is touched or renamed is no wish to pay for it once more."""
    bed = a_bed(folder, api)

    def cancel() -> None:
        assert bed.state("a.wav") == "submitted"
        bed.disk.leave(Request("cancel", [1, 2]))

    assert bed.run(at(3, cancel)) is None
    assert bed.states() == {"cancelled": 2}
    before = accepted(bed)
    name = meddle(bed, act)
    assert bed.run() is None
    assert bed.state(name) == "cancelled"
    assert accepted(bed) == before + (act == "copied and removed")


def test_what_could_not_be_decoded_twice_is_known_by_the_recording(folder: Path) -> None:
    """What was sent the second time was its sound as FLAC; what is touched is the recording."""
    recognizer = Stubborn("Audio could not be decoded.", 9, NOISE, FLAC + NOISE)
    bed = Bed(folder, recognizer=recognizer, api="rest")
    bed.add("a.wav", content=NOISE)
    assert bed.run() is None
    assert (bed.states(), accepted(bed)) == ({"failed": 1}, 2)
    meddle(bed, "touched")
    assert bed.run() is None
    meddle(bed, "copied")
    assert bed.run() is None
    assert (bed.states(), accepted(bed)) == ({"failed": 2}, 2)


@BOTH
def test_a_wish_of_a_person_sends_it_once_more_for_all_of_its_names(folder: Path, api: str) -> None:
    """The copy is done with it, and is never sent itself."""
    bed = a_bed(folder, api, times=1)
    assert bed.run() is None
    meddle(bed, "copied")
    assert bed.run() is None
    assert bed.states() == {"done": 1, "failed": 2}
    bed.disk.leave(Request("retry", [2, 3]))
    assert bed.run() is None
    assert bed.states() == {"done": 3}
    assert bed.wrong() == []
    assert accepted(bed) == 3


@BOTH
def test_audio_of_which_nobody_knew_is_recognised_at_the_seal(folder: Path, api: str) -> None:
    """A recording that was admitted unread may have become a copy of what has failed."""
    bed = a_bed(folder, api)
    assert bed.run() is None
    before = accepted(bed)
    bed.change("a.wav", NOISE[:2_000])
    assert bed.run() is None
    other = Random("other").randbytes(len(NOISE))
    bed.add("c.wav", content=other)

    def become(verb: str, path: bytes) -> None:
        if verb == "open" and path == b"/in/c.wav":
            bed.world.files[path].content = NOISE

    bed.disk.before = become
    assert bed.run() is None
    assert bed.state("c.wav") == "failed"
    assert "source_changed" in bed.events("c.wav")
    assert accepted(bed) == before + 1


@BOTH
@pytest.mark.parametrize("act", ["touched", "rewritten"])
def test_what_was_taken_for_lost_and_only_touched_is_taken_up(folder: Path, api: str, act: str) -> None:
    """Its transcript shows up again after all, and is paid for; it is deleted where it is of another content."""
    bed = Bed(folder, 1_000, knobs=Knobs(queue_ms=1_000, min_work_ms=60_000, max_work_ms=60_000), api=api)
    hidden: list[tuple[Work, int]] = []

    def hide() -> None:
        (item,) = bed.rest.jobs if api == "rest" else bed.account.files
        hidden.append((item, item.visible))
        item.visible = 2**62

    assert bed.run(at(20, hide)) is None
    assert bed.states() == {"failed": 1}
    for item, visible in hidden:
        item.visible = visible
    content = bed.world.files[b"/in/000.wav"].content
    bed.change("000.wav", content if act == "touched" else NOISE)
    assert bed.run() is None
    assert bed.states() == {"done": 1}
    assert bed.wrong() == []
    assert accepted(bed) == (1 if act == "touched" else 2)


@BOTH
def test_a_wish_that_is_taken_back_sends_no_copy(folder: Path, api: str) -> None:
    """Tried again and given up before the next run: a third name is not sent either."""
    bed = a_bed(folder, api)
    assert bed.run() is None
    meddle(bed, "copied")
    assert bed.run() is None
    before = accepted(bed)
    bed.disk.leave(Request("retry", [3]), Request("cancel", [3]))
    bed.add("c.wav", content=NOISE)
    assert bed.run() is None
    assert [bed.state(f"{name}.wav") for name in "abc"] == ["failed", "cancelled", "failed"]
    assert accepted(bed) == before


@BOTH
def test_a_wish_for_one_name_is_enough_for_all_of_them(folder: Path, api: str) -> None:
    """The others had failed with it, and are done for nothing."""
    bed = a_bed(folder, api, times=1)
    assert bed.run() is None
    meddle(bed, "copied")
    assert bed.run() is None
    bed.disk.leave(Request("retry", [3]))
    assert bed.run() is None
    assert bed.states() == {"done": 3}
    assert bed.wrong() == []
    assert accepted(bed) == 3


def put_aside(bed: Bed, act: str) -> None:
    """Do something to the recording `a.wav`, which waits for its second chance, that changes no audio."""
    if act == "touched":
        bed.change("a.wav", NOISE)
        return
    file = bed.world.files.pop(b"/in/a.wav")
    if act == "renamed":
        bed.world.files[b"/in/b.wav"] = file
        return
    assert bed.run() is None
    assert bed.states() == {"failed": 1}
    bed.world.files[b"/in/a.wav"] = file


@pytest.mark.parametrize("act", ["touched", "renamed", "gone and back"])
@pytest.mark.parametrize(
    ("api", "trouble"),
    [("grpc", "internal error"), ("rest", "internal error"), ("rest", "Audio could not be decoded.")],
)
def test_a_second_chance_is_the_last_one_whatever_is_done_to_the_recording(
    folder: Path, api: str, act: str, trouble: str
) -> None:
    """It has not begun yet when somebody touches what it is for; one who wants it all the same says so."""
    kind = "internal_error" if trouble == "internal error" else "invalid_audio_file"
    recognizer = Stubborn(trouble, 9, NOISE, FLAC + NOISE, error_type=kind)
    bed = Bed(folder, recognizer=recognizer, api=api)
    bed.add("a.wav", content=NOISE)
    bed.run(kill="deleted")
    assert bed.run(admit=False) is None
    assert bed.states() == {"waiting": 1}
    put_aside(bed, act)
    for _ in range(3):
        assert bed.run() is None
    assert set(bed.states()) == {"failed"}
    assert accepted(bed) <= 2


def test_a_name_that_is_gone_is_done_with_the_transcript_of_its_audio(folder: Path) -> None:
    """A failed recording was renamed, and the new name sent on a person's wish: nothing is left to be tried."""
    bed = a_bed(folder, "grpc", times=1)
    assert bed.run() is None
    meddle(bed, "renamed")
    assert bed.run() is None
    assert bed.states() == {"done": 1, "failed": 2}
    bed.disk.leave(Request("retry", [3]))
    assert bed.run() is None
    assert bed.states() == {"done": 3}
    assert (bed.run(), bed.states(), bed.wrong()) == (None, {"done": 3}, [])
