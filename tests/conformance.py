"""What every implementation of the service must do, as one suite over the emulator's core.

An implementation joins with a class that says how it is opened; see `test_conformance.py`. The clock is set by
hand and faults are given call by call, so nothing here waits or is left to chance.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest

from batcher.emulator.core import Core
from batcher.emulator.faults import Plan, Trouble
from batcher.emulator.objects import Failure
from batcher.emulator.recognizers import echo, echo_text
from batcher.emulator.tally import Call
from batcher.errors import Kind, SourceError
from batcher.model import Part, RemoteStatus
from batcher.options import Options
from batcher.service import Service, Submission
from tests.emulator_tools import Bench, BrokenTape, HandClock, Scripted, Tape, kind_of, new_core, stereo_wav

KEY = "the key"
LOST_CODES = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL")


class Endless(Tape):
    """A recording that cannot have been sent whole before its connection was cut, however slow the cut is."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.size = 2**40

    async def chunks(self) -> AsyncIterator[bytes]:
        """Go on until the reader leaves."""
        while True:
            yield bytes(256 * 1024)


@pytest.mark.anyio
class Conformance:
    """The suite. A subclass says how its implementation is opened, and where its service differs."""

    sending = Call.SUBMIT  #: the call in which the bytes travel

    def open(self, core: Core, key: str, plan: Plan) -> AbstractAsyncContextManager[Service]:
        """Open the implementation against `core`."""
        raise NotImplementedError

    def account(self, core: Core) -> Any:
        """Return what the service holds for the key."""
        return core.account(KEY)

    def native(self, remote: str) -> str:
        """Return the service's own id of what is transcribed."""
        return remote

    @asynccontextmanager
    async def bench(self, **knobs: Any) -> AsyncIterator[Bench]:
        """Yield the service over a core with these knobs."""
        clock, plan = HandClock(), Scripted()
        core = new_core(clock, **knobs)
        async with self.open(core, KEY, plan) as service:
            yield Bench(service, self.account(core), clock, plan, [])

    async def test_a_recording_goes_the_whole_way(self) -> None:
        """Submitted, listed, fetched with the words of the recording, deleted, gone."""
        async with self.bench() as bench:
            tape = Tape(b"a recording" * 1000)
            remote = await bench.submit("my reference", tape)
            [seen] = (await bench.service.survey()).objects
            assert (seen.id, seen.reference, seen.status) == (remote, "my reference", RemoteStatus.QUEUED)
            assert seen.created == bench.clock.now()
            bench.finish_all()
            [seen] = (await bench.service.survey()).objects
            assert (seen.status, seen.error) == (RemoteStatus.COMPLETED, "")
            transcript = await bench.service.fetch(remote)
            assert transcript.text == echo_text(tape.digest)
            assert _spoken(transcript.parts) == _spoken(echo(tape.digest).parts)
            await bench.service.delete(remote)
            survey = await bench.service.survey()
            assert (survey.objects, survey.complete) == ((), True)

    async def test_what_arrives_is_what_was_sent(self) -> None:
        """Digest and size at the service are those of the recording, also of an empty and of a large one."""
        async with self.bench() as bench:
            for tape in (Tape(b""), Tape(b"x"), Tape(bytes(range(256)) * 8000, chunk=256 * 1024)):
                await bench.submit(audio=tape)
                audio = bench.account.files[-1].audio
                assert (audio.digest, audio.size) == (tape.digest, tape.size)

    async def test_the_seal_comes_after_the_last_byte_and_before_anything_is_accepted(self) -> None:
        """It is awaited once; at that moment all is read and nothing is there."""
        async with self.bench() as bench:
            read: list[bytes] = []
            seen_at_seal: list[tuple[bytes, int]] = []

            class Noting(Tape):
                async def chunks(self) -> AsyncIterator[bytes]:
                    async for chunk in super().chunks():
                        read.append(chunk)
                        yield chunk

            async def seal() -> None:
                await anyio.lowlevel.checkpoint()
                seen_at_seal.append((b"".join(read), bench.account.stored))

            tape = Noting(b"0123456789" * 1000)
            await bench.service.submit(Submission("r", Options(), tape), seal)
            assert seen_at_seal == [(tape.content, 0)]
            assert bench.account.stored == 1

    async def test_a_seal_that_fails_lets_nothing_be_accepted(self) -> None:
        """Its error comes out unchanged."""

        class FullDiskError(Exception):
            pass

        async def seal() -> None:
            raise FullDiskError

        async with self.bench() as bench:
            with pytest.raises(FullDiskError):
                await bench.service.submit(Submission("r", Options(), Tape(b"audio")), seal)
            assert (await bench.service.survey()).objects == ()
        assert bench.account.tally.accepted.total() == 0

    async def test_a_recording_that_cannot_be_read_leaves_nothing(self) -> None:
        """Its error comes out unchanged, and the seal was never asked for."""
        async with self.bench() as bench:
            with pytest.raises(SourceError, match="the disk is broken"):
                await bench.submit(audio=BrokenTape(b"some audio"))
            assert bench.sealed == []
        assert bench.account.tally.accepted.total() == 0

    async def test_a_cancelled_upload_leaves_nothing(self) -> None:
        """A cancellation before the seal comes out as such."""
        async with self.bench() as bench:
            with anyio.CancelScope() as scope:

                class Stopped(Tape):
                    async def chunks(self) -> AsyncIterator[bytes]:
                        yield b"some"
                        scope.cancel()
                        await anyio.lowlevel.checkpoint()

                await bench.submit(audio=Stopped(b"some audio"))
            assert scope.cancelled_caught
            assert bench.sealed == []
        assert bench.account.tally.accepted.total() == 0

    @pytest.mark.parametrize("limits", [{"pending": 1}, {"stored": 1}])
    @pytest.mark.parametrize("after", [False, True])
    async def test_a_full_account_is_full_and_gets_nothing(self, limits: dict[str, int], after: bool) -> None:
        """Whether the refusal comes before or after the bytes, it proves that nothing was accepted."""
        async with self.bench(refuse_after_bytes=after, **limits) as bench:
            first = await bench.submit("first")
            assert await kind_of(bench.submit, "second", Tape(bytes(500_000))) is Kind.FULL
            assert [seen.reference for seen in (await bench.service.survey()).objects] == ["first"]
            bench.finish_all()
            await bench.service.delete(first)
            await bench.submit("third")

    async def test_a_result_too_early_is_not_ready(self) -> None:
        """Neither queued nor running nor failed objects have one."""
        async with self.bench() as bench:
            remote = await bench.submit()
            assert await kind_of(bench.service.fetch, remote) is Kind.NOT_READY
            bench.clock.pass_ms(300)
            assert await kind_of(bench.service.fetch, remote) is Kind.NOT_READY
            bench.account.finish(self.native(remote), Failure("noise"))
            assert await kind_of(bench.service.fetch, remote) is Kind.NOT_READY

    async def test_a_failed_object_says_why(self) -> None:
        """The service's own words are in the survey, and it can be deleted."""
        async with self.bench() as bench:
            remote = await bench.submit()
            bench.account.finish(self.native(remote), Failure("Only noise: \N{SNOWMAN}."))
            [seen] = (await bench.service.survey()).objects
            assert seen.status is RemoteStatus.FAILED
            assert seen.error.endswith("Only noise: \N{SNOWMAN}.")
            await bench.service.delete(remote)
            assert bench.account.stored == 0

    async def test_a_delete_while_running_is_not_ready(self) -> None:
        """The object stays; queued ones may be deleted."""
        async with self.bench() as bench:
            remote = await bench.submit()
            await bench.service.delete(await bench.submit())
            bench.clock.pass_ms(300)
            assert await kind_of(bench.service.delete, remote) is Kind.NOT_READY
            assert bench.account.stored == 1

    async def test_a_second_delete_succeeds(self) -> None:
        """Already gone is success."""
        async with self.bench() as bench:
            remote = await bench.submit()
            await bench.service.delete(remote)
            await bench.service.delete(remote)
            assert bench.account.stored == 0

    async def test_the_result_of_an_unknown_object_is_gone(self) -> None:
        """An object that somebody else deleted has none."""
        async with self.bench() as bench:
            remote = await bench.submit()
            bench.account.vanish(self.native(remote))
            assert await kind_of(bench.service.fetch, remote) is Kind.GONE

    async def test_a_revoked_key_stops_everything(self) -> None:
        """Every verb says so."""
        async with self.bench() as bench:
            remote = await bench.submit()
            bench.account.revoked = True
            assert await kind_of(bench.submit) is Kind.STOP
            assert await kind_of(bench.service.survey) is Kind.STOP
            assert await kind_of(bench.service.fetch, remote) is Kind.STOP
            assert await kind_of(bench.service.delete, remote) is Kind.STOP

    async def test_an_exhausted_balance_stops_everything(self) -> None:
        """Nothing is accepted any more."""
        async with self.bench() as bench:
            bench.account.balance_exhausted = True
            assert await kind_of(bench.submit) is Kind.STOP
        assert bench.account.stored == 0

    async def test_a_reference_that_is_too_long_is_hopeless(self) -> None:
        """256 characters pass."""
        async with self.bench() as bench:
            assert await kind_of(bench.submit, "x" * 257) is Kind.HOPELESS
            await bench.submit("x" * 256)
            [seen] = (await bench.service.survey()).objects
            assert seen.reference == "x" * 256

    async def test_a_recording_that_is_too_large_is_hopeless(self) -> None:
        """It never gets in."""
        async with self.bench(max_bytes=1000) as bench:
            assert await kind_of(bench.submit, audio=Tape(bytes(1001))) is Kind.HOPELESS
        assert bench.account.stored == 0

    @pytest.mark.parametrize("code", LOST_CODES)
    @pytest.mark.parametrize("trouble", [Trouble.LOST_BEFORE, Trouble.LOST_AFTER])
    async def test_a_lost_answer_after_the_seal_is_uncertain(self, trouble: Trouble, code: str) -> None:
        """Whether it was accepted can only be told from the list."""
        async with self.bench() as bench:
            bench.plan.add(Call.SUBMIT, trouble, code)
            assert await kind_of(bench.submit, "lost") is Kind.UNCERTAIN
            assert bench.sealed == ["lost"]
            assert await _accepted(bench) == (["lost"] if trouble is Trouble.LOST_AFTER else [])

    async def test_an_upload_that_arrives_late_is_listed_late(self) -> None:
        """It counts at once, but a list shows it only some time after the answer was lost."""
        async with self.bench() as bench:
            bench.plan.add(Call.SUBMIT, Trouble.LATE, ms=30_000)
            assert await kind_of(bench.submit, "late") is Kind.UNCERTAIN
            assert await _accepted(bench) == []
            assert bench.account.stored == 1
            bench.clock.pass_ms(30_000)
            assert await _accepted(bench) == ["late"]

    async def test_a_connection_cut_before_the_seal_is_never_uncertain(self) -> None:
        """Nothing was accepted, and that is known."""
        async with self.bench() as bench:
            bench.plan.add(self.sending, Trouble.CUT, cut_after=1)
            kind = await kind_of(bench.submit, audio=Endless())
            assert kind is Kind.UNREACHABLE
            assert bench.sealed == []
        assert bench.account.tally.accepted.total() == 0

    @pytest.mark.parametrize(("code", "kind"), [("UNAVAILABLE", Kind.UNREACHABLE), ("INTERNAL", Kind.LATER)])
    async def test_a_service_that_is_away_is_told_from_one_that_fails(self, code: str, kind: Kind) -> None:
        """Every verb that is not a submission can simply be tried again."""
        async with self.bench() as bench:
            remote = await bench.submit()
            bench.finish_all()
            for call in (Call.SURVEY, Call.FETCH, Call.DELETE):
                bench.plan.add(call, Trouble.REFUSED, code)
            assert await kind_of(bench.service.survey) is kind
            assert await kind_of(bench.service.fetch, remote) is kind
            assert await kind_of(bench.service.delete, remote) is kind
            assert len((await bench.service.survey()).objects) == 1
            await bench.service.fetch(remote)
            await bench.service.delete(remote)

    @pytest.mark.parametrize("cut_after", [0, 1, 2, 99])
    async def test_a_result_cut_short_is_no_result(self, cut_after: int) -> None:
        """All of it or an error, wherever it breaks; the next try has all of it."""
        async with self.bench(words_per_message=5) as bench:
            tape = Tape(b"some words")
            remote = await bench.submit(audio=tape)
            bench.finish_all()
            bench.plan.add(Call.FETCH, Trouble.CUT, cut_after=cut_after)
            assert await kind_of(bench.service.fetch, remote) is Kind.UNREACHABLE
            assert (await bench.service.fetch(remote)).text == echo_text(tape.digest)

    async def test_a_delete_whose_answer_was_lost_can_be_repeated(self) -> None:
        """It had its effect; doing it again is success."""
        async with self.bench() as bench:
            remote = await bench.submit()
            bench.plan.add(Call.DELETE, Trouble.LOST_AFTER)
            assert await kind_of(bench.service.delete, remote) is Kind.UNREACHABLE
            assert bench.account.stored == 0
            await bench.service.delete(remote)

    async def test_other_clients_files_are_in_the_survey(self) -> None:
        """They count, so they must be seen."""
        async with self.bench() as bench:
            bench.account.add_foreign(3, reference="somebody")
            await bench.submit("mine")
            objects = (await bench.service.survey()).objects
            assert sorted(seen.reference for seen in objects) == ["mine", "somebody", "somebody", "somebody"]
            assert all(seen.status.pending for seen in objects)

    async def test_a_survey_of_a_full_account_is_one_look(self) -> None:
        """Two thousand objects come at once."""
        async with self.bench() as bench:
            bench.account.add_foreign(2000, reference="x" * 256, force=True)
            survey = await bench.service.survey()
            assert (len(survey.objects), survey.complete) == (2000, True)

    async def test_many_uploads_at_once_are_all_accepted(self) -> None:
        """Each gets an id of its own."""
        async with self.bench() as bench:
            ids: list[str] = []

            async def one(number: int) -> None:
                ids.append(await bench.submit(str(number), Tape(bytes([number]) * 100_000)))

            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(one, number)
            assert len(set(ids)) == 50
            assert bench.account.tally.submitted_twice == []
            assert {file.audio.size for file in bench.account.files} == {100_000}


class LegacyConformance(Conformance):
    """The suite with what only the legacy API can do."""

    async def test_words_that_were_not_final_are_replaced(self) -> None:
        """However the result is cut into messages, the words are the same."""
        async with self.bench(words_per_message=3, provisional_words=2) as bench:
            tape = Tape(b"some words")
            remote = await bench.submit(audio=tape)
            bench.finish_all()
            assert (await bench.service.fetch(remote)).parts == echo(tape.digest).parts

    async def test_each_channel_has_its_own_part(self) -> None:
        """The channels of a recording's header, or of raw audio's description, are counted."""
        async with self.bench(words_per_message=4) as bench:
            tape = Tape(stereo_wav())
            remote = await bench.submit(audio=tape, separate_channels=True)
            raw: dict[str, Any] = {"audio_format": "pcm_s16le", "sample_rate": 8000, "channels": 3}
            raw_remote = await bench.submit(audio=tape, separate_channels=True, **raw)
            bench.finish_all()
            parts = (await bench.service.fetch(remote)).parts
            assert parts == echo(tape.digest, channels=2).parts
            assert [part.channel for part in parts] == [0, 1]
            assert [part.channel for part in (await bench.service.fetch(raw_remote)).parts] == [0, 1, 2]

    async def test_one_channel_recognised_separately_keeps_its_number(self) -> None:
        """Even a single one is a channel then."""
        async with self.bench() as bench:
            remote = await bench.submit(audio=Tape(b"no header"), separate_channels=True)
            bench.finish_all()
            assert [part.channel for part in (await bench.service.fetch(remote)).parts] == [0]

    async def test_speakers_and_their_names_come_through(self) -> None:
        """Words carry their speaker, the part knows who that is."""
        async with self.bench() as bench:
            names = ("Ann", "Bo")
            remote = await bench.submit(speaker_diarization=True, speaker_identification=True, speaker_names=names)
            bench.finish_all()
            [part] = (await bench.service.fetch(remote)).parts
            assert {word.speaker for word in part.words} == {"1", "2"}
            assert part.speakers == {"1": "Ann", "2": "Bo"}

    async def test_a_document_comes_through_whole(self) -> None:
        """It is the one of the service, as it sent it."""
        async with self.bench(words_per_message=3) as bench:
            tape = Tape(b"some words")
            remote = await bench.submit(audio=tape, document_formatting="{}")
            bench.finish_all()
            document = (await bench.service.fetch(remote)).document
            text = echo_text(tape.digest)
            assert document == {"sections": [{"section_id": "1", "title": "Echo", "text": text}]}


async def _accepted(bench: Bench) -> list[str]:
    """Return the references of what a survey shows and will be transcribed."""
    objects = (await bench.service.survey()).objects
    return [seen.reference for seen in objects if seen.status is not RemoteStatus.UPLOADED]


def _spoken(parts: tuple[Part, ...]) -> list[tuple[object, ...]]:
    """Return the words with their times; blanks are tokens of their own to one API and not to the other."""
    words = [word for part in parts for word in part.words if word.text.strip()]
    return [(word.text.strip(), word.start_ms, word.end_ms, word.confidence, word.speaker) for word in words]
