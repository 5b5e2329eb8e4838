"""The REST service in-process: it conforms, it needs no time but the loop's, and breaks where a connection would."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from batcher.clock import Dice
from batcher.emulator.core import Core
from batcher.emulator.faults import PRESETS, FaultPlan, Plan, Trouble
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.objects import Audio, Config, Report
from batcher.emulator.recognizers import Echo, echo_text
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_objects import RestFile, RestJob
from batcher.emulator.tally import Call
from batcher.errors import Kind, ServiceError
from batcher.model import Part, RemoteStatus, Transcript, Word
from batcher.options import Options
from batcher.service import Service, Submission
from batcher.service.rest import RestService
from batcher.service.rest_budget import Budget
from batcher.service.rest_http import Client
from batcher.service.shared import Key
from batcher.service.simulated import Pace
from tests import test_conformance
from tests.emulator_tools import Scripted, Tape, kind_of
from tests.rest_tools import JOB, Bridge, Script, a_file, a_transcription, no_seal, said
from tests.simulation.rest import cut, open_simulated_rest, open_wire
from tests.simulation.virtual import VirtualLoop, run_virtually
from tests.simulation.world import Killed, World

pytestmark = pytest.mark.anyio

KEY = "key"
AT_ONCE = Pace(0, 0, 1e12)
SLOW = Knobs(queue_ms=60_000, min_work_ms=60_000, max_work_ms=300_000, speed=1.0)


class TestSimulatedRest(test_conformance.TestRest):
    """The REST API in-process, on the ordinary loop."""

    @asynccontextmanager
    async def open(self, core: Core, key: str, plan: Plan) -> AsyncIterator[Service]:
        """Open it without latencies. Every word comes as one token, so that transcripts can be compared."""
        core.knobs = replace(core.knobs, rest=replace(core.knobs.rest, piece_letters=0))
        async with open_simulated_rest(core, key, plan=plan, pace=AT_ONCE) as service:
            yield service


class TestSimulatedRestVirtually(TestSimulatedRest):
    """The same in virtual time, in which a thread or a socket would be found out."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """Run on a loop whose time passes only when nobody has anything to do."""
        return "asyncio", {"loop_factory": VirtualLoop}


@dataclass
class Evening:
    """An account at the REST API in virtual time, what its clients do to it, and what they heard."""

    seed: int = 0
    knobs: Knobs = field(default_factory=Knobs)
    plan: Plan | None = None
    faults: str = "none"
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = Dice(self.seed)
        self.world = World(read=anyio.current_time)
        self.core = Core(self.world, Echo(), self.knobs, dice=self.dice)
        self.core.watch_rest(self._changed)
        self.plan = self.plan or FaultPlan(PRESETS[self.faults], self.dice, self.world)

    @property
    def account(self) -> RestAccount:
        """Return what the service holds."""
        return self.core.rest(KEY)

    def spend(self, work: Callable[[Service], Awaitable[None]], **details: Any) -> float:
        """Let `work` use the service; return how many virtual seconds that took, and everything still on its way."""

        async def main() -> None:
            async with open_simulated_rest(self.core, KEY, dice=self.dice, plan=self.plan, **details) as service:
                await work(service)

        _, moment = run_virtually(main)
        self.world.read = lambda: moment
        return moment

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{anyio.current_time():.6f} {text}")

    def _changed(self, _account: RestAccount, change: str, item: RestFile | RestJob) -> None:
        self.note(f"{type(item).__name__} {item.id} {item.reference} {change}")


def tape(number: int) -> Tape:
    """Return one of many recordings: up to 100 kB, all different."""
    return Tape(number.to_bytes(2) * (1 + number * 1000), chunk=32_768)


async def submit(service: Service, number: int) -> str:
    """Send one recording."""
    return await service.submit(Submission(f"r{number}", Options(), tape(number)), no_seal)


async def all_at_once(*works: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Do everything side by side."""
    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(work)


async def whole_way(evening: Evening, service: Service, *, recordings: int) -> None:
    """Upload so many, list until all are transcribed, fetch, delete; note what comes of every call."""

    async def heard(what: str, call: Awaitable[Any]) -> Any:
        try:
            result = await call
        except ServiceError as error:
            evening.note(f"{what}: {error.kind} {error}")
            return None
        evening.note(f"{what}: {result}")
        return result

    async def send(number: int) -> None:
        await anyio.sleep(number)
        await heard(f"submit {number}", submit(service, number))

    async def home(remote: str) -> None:
        transcript = await heard(f"fetch {remote}", service.fetch(remote))
        evening.note(transcript.text if transcript else "nothing")
        await heard(f"delete {remote}", service.delete(remote))

    await all_at_once(*[partial(send, number) for number in range(recordings)])
    while any(job.status.pending for job in evening.account.jobs):
        await anyio.sleep(service.poll_seconds)
        await heard("survey", service.survey())
    await all_at_once(*[partial(home, f"{job.id}/{job.asked.file_id}") for job in evening.account.jobs])
    await heard("survey", service.survey())


def test_fifty_recordings_go_the_whole_way_in_virtual_time() -> None:
    """Each has its own transcript, and nothing is left; minutes pass at the service, and hardly one second here."""
    evening = Evening(knobs=SLOW)
    passed = evening.spend(partial(whole_way, evening, recordings=50))
    fetched = {line.partition(" ")[2] for line in evening.trace}
    assert fetched >= {echo_text(tape(number).digest) for number in range(50)}
    tally = evening.account.tally
    assert (tally.accepted.total(), tally.uploads.total(), tally.submitted_twice) == (50, 50, [])
    assert (tally.pending_peak, tally.stored_peak, tally.files_peak) == (50, 50, 50)
    assert tally.bytes_peak == sum(tape(number).size for number in range(50))
    assert (evening.account.files, evening.account.jobs) == ([], [])
    assert passed > 120


@pytest.mark.parametrize("faults", ["none", "many"])
def test_the_same_seed_gives_the_same_evening_twice(faults: str) -> None:
    """Every call, every answer and every moment; another seed gives another one."""
    traces = []
    for seed in (1, 1, 2):
        evening = Evening(seed, SLOW, faults=faults)
        evening.spend(partial(whole_way, evening, recordings=50))
        traces.append((evening.trace, list(evening.account.tally.trace), evening.account.tally.injected))
    assert len(traces[0][0]) > 200
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]
    assert bool(traces[0][2]) is (faults == "many")


def test_requests_and_bytes_take_the_time_of_the_pace() -> None:
    """A request has a way there and one back, and bytes come on top, either way."""
    evening, moments = Evening(), []

    async def work(service: Service) -> None:
        await service.survey()
        moments.append(anyio.current_time())
        await service.submit(Submission("r", Options(), Tape(bytes(100_000))), no_seal)
        moments.append(anyio.current_time())

    evening.spend(work, pace=Pace(0.2, 0.2, 10_000))
    assert 4 * 0.2 < moments[0] < 4 * 0.2 + 0.1, "two lists, two counts, and their few bytes"
    assert 10 + 2 * 0.2 < moments[1] - moments[0] < 10 + 2 * 0.2 + 0.2


def test_a_minute_holds_as_many_requests_as_the_budget_says() -> None:
    """The client's budget and the service's both follow virtual time, so they agree."""
    evening = Evening(knobs=Knobs(rest=RestKnobs(requests_per_minute=60)))

    async def work(service: Service) -> None:
        await all_at_once(*[partial(service.delete, f"{JOB}/") for _ in range(100)])

    passed = evening.spend(work, requests_per_minute=60)
    assert evening.account.tally.reasons["requests"] == 0
    assert 60 < passed < 80


def test_a_long_transcript_needs_no_thread() -> None:
    """Real time, in which a thread works, does not exist here."""

    class Talkative(Echo):
        def recognise(self, audio: Audio, config: Config, report: Report) -> None:
            report(Transcript((Part((Word("word", 0, 1, 1.0),) * 20_000),), separator=" "))

    evening, texts = Evening(), list[str]()
    evening.core.recognizer = Talkative()

    async def work(service: Service) -> None:
        remote = await submit(service, 1)
        await anyio.sleep(60)
        texts.append((await service.fetch(remote)).text)

    evening.spend(work)
    assert texts == [" ".join(["word"] * 20_000)]


def test_a_gateway_answers_in_html() -> None:
    """Before the seal as after it, and of the listing."""
    plan = Scripted()
    for call in (Call.UPLOAD, Call.SUBMIT, Call.FILES, Call.SURVEY):
        plan.add(call, Trouble.REFUSED, "UNAVAILABLE")
    evening, errors = Evening(plan=plan), list[tuple[Kind, str]]()

    async def work(service: Service) -> None:
        for call in (partial(submit, service, 1), partial(submit, service, 2), service.survey, service.survey):
            with pytest.raises(ServiceError) as caught:
                await call()
            errors.append((caught.value.kind, caught.value.code))

    evening.spend(work)
    assert errors == [
        (Kind.UNREACHABLE, "503"),
        (Kind.UNCERTAIN, "502"),
        (Kind.UNREACHABLE, "503"),
        (Kind.UNREACHABLE, "502"),
    ]


@pytest.mark.parametrize(
    ("call", "seconds", "kind"), [(Call.SUBMIT, 60, Kind.UNCERTAIN), (Call.FILES, 30, Kind.UNREACHABLE)]
)
def test_an_answer_that_takes_too_long_is_not_awaited(call: Call, seconds: int, kind: Kind) -> None:
    """The deadlines of the client pass in virtual time, and what was asked for happens all the same."""
    plan = Scripted()
    plan.add(call, Trouble.DELAYED, ms=1_000_000)
    evening = Evening(plan=plan)

    async def work(service: Service) -> None:
        verb = partial(submit, service, 0) if call is Call.SUBMIT else service.survey
        assert await kind_of(verb) is kind
        assert math.isclose(anyio.current_time(), seconds)

    assert evening.spend(work, pace=AT_ONCE) > 1000
    assert evening.account.tally.accepted.total() == (call is Call.SUBMIT)


def test_what_was_made_late_is_listed_late() -> None:
    """A file and a transcription that nobody heard of appear when their time has come."""
    plan = Scripted()
    plan.add(Call.UPLOAD, Trouble.LATE, ms=20_000)
    plan.add(Call.SUBMIT, Trouble.LATE, ms=40_000)
    evening, seen = Evening(plan=plan), list[list[RemoteStatus]]()

    async def work(service: Service) -> None:
        assert await kind_of(submit, service, 0) is Kind.UNREACHABLE
        assert await kind_of(submit, service, 1) is Kind.UNCERTAIN
        for _ in range(3):
            seen.append(sorted(each.status for each in (await service.survey()).objects))
            await anyio.sleep(25)

    evening.spend(work)
    uploaded, completed = RemoteStatus.UPLOADED, RemoteStatus.COMPLETED
    assert seen == [[uploaded], [uploaded, uploaded], sorted([uploaded, completed])]


def test_a_list_may_be_old() -> None:
    """It shows what was deleted since; the next one does not."""
    plan = Scripted()
    evening, seen = Evening(plan=plan), list[int]()

    async def work(service: Service) -> None:
        remote = await submit(service, 1)
        await anyio.sleep(10)
        await service.delete(remote)
        await anyio.sleep(10)
        for call in (Call.FILES, Call.SURVEY):
            plan.add(call, Trouble.STALE, ms=15_000)
        seen.extend([len((await service.survey()).objects) for _ in range(2)])

    evening.spend(work)
    assert seen == [1, 0]


def test_what_was_sent_arrives_though_its_sender_is_gone() -> None:
    """A creation on its way takes effect after the call was cancelled."""
    evening = Evening()

    async def work(service: Service) -> None:
        with anyio.CancelScope() as scope:

            async def seal() -> None:
                scope.deadline = anyio.current_time() + 0.05

            await service.submit(Submission("r", Options(), Tape(b"audio")), seal)
        assert scope.cancelled_caught
        assert evening.account.tally.accepted.total() == 0

    evening.spend(work, pace=Pace(0.2, 0.2))
    assert evening.account.tally.accepted.total() == 1


def test_what_was_sent_arrives_though_the_process_is_gone() -> None:
    """An error that ends everything at once does not call it back, and comes out as it is."""
    evening, sealed = Evening(), anyio.Event()

    async def seal() -> None:
        sealed.set()

    async def work(service: Service) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.submit, Submission("r", Options(), Tape(b"audio")), seal)
            await sealed.wait()
            await anyio.sleep(0.05)
            assert evening.account.tally.accepted.total() == 0
            raise Killed

    with pytest.raises(BaseExceptionGroup) as group:
        evening.spend(work, pace=Pace(0.2, 0.2))
    assert [type(error) for error in group.value.exceptions] == [Killed]
    assert evening.account.tally.accepted.total() == 1


def test_an_upload_left_in_the_middle_comes_to_nothing() -> None:
    """However much of it was sent."""
    evening = Evening()

    async def work(service: Service) -> None:
        with anyio.move_on_after(5) as scope:
            await service.submit(Submission("r", Options(), Tape(bytes(100_000))), no_seal)
        assert scope.cancelled_caught

    evening.spend(work, pace=Pace(0.2, 0.2, 10_000))
    assert evening.account.tally.calls == {Call.UPLOAD: 1}
    assert evening.account.tally.refusals == {"ABORTED": 1}


def test_the_same_dice_send_the_same_bytes() -> None:
    """Boundaries come from the dice too; without given ones they are not to be guessed."""

    async def bodies(dice: Dice | None) -> list[bytes]:
        script = Script()
        script.add("POST /files", said(201, a_file()))
        script.add("POST /transcriptions", said(201, a_transcription()))
        account = RestService(
            Client("http://x", Key(KEY), Budget(0), Bridge(httpx.MockTransport(script))), Key(KEY), dice=dice
        )
        await submit(account, 1)
        return script.bodies

    [first, again, other, third] = [
        run_virtually(partial(bodies, dice))[0] for dice in (Dice(1), Dice(1), Dice(2), None)
    ]
    assert first == again
    assert first != other
    assert third not in (first, other)


def test_an_evening_throws_no_dice_but_its_own() -> None:
    """Boundaries are drawn from them as well."""
    evening = Evening()

    async def work(service: Service) -> None:
        await submit(service, 1)

    evening.spend(work)
    assert evening.dice.stream("multipart").getstate() != Dice(0).stream("multipart").getstate()


async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing."""


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail."""
    raise ZeroDivisionError


async def half(scope: Scope, receive: Receive, send: Send) -> None:
    """Promise an answer and end in its middle."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ha", "more_body": True})


async def cutting(scope: Scope, receive: Receive, send: Send) -> None:
    """Cut the connection, then answer into nothing."""
    cut(scope)
    await half(scope, receive, send)
    await send({"type": "http.response.body"})
    assert (await receive())["type"] == "http.disconnect"


@asynccontextmanager
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an app behind a wire."""
    async with (
        open_wire(app, dice=Dice(0), pace=AT_ONCE) as wire,
        httpx.AsyncClient(base_url="http://app", transport=wire) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("app", "error"),
    [(quiet, httpx.ReadError), (half, httpx.RemoteProtocolError), (cutting, httpx.ReadError)],
)
async def test_less_than_an_answer_is_an_error(app: Any, error: type[httpx.TransportError]) -> None:
    """As when a connection ends."""
    async with client(app) as http:
        with pytest.raises(error):
            await http.get("/")


async def test_an_app_that_fails_cuts_its_connection_and_is_told_at_the_end() -> None:
    """The client cannot know why; whoever opened the wire must."""

    async def ask() -> None:
        async with client(broken) as http:
            with pytest.raises(httpx.ReadError):
                await http.get("/")

    with pytest.raises(ZeroDivisionError):
        await ask()


async def test_a_request_comes_through_piece_by_piece_and_its_answer_as_a_whole() -> None:
    """Method, path, query, headers and body are there; the body's pieces come when they are made."""
    made, came = list[bytes](), list[tuple[bytes, int]]()

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two"):
            made.append(piece)
            yield piece

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["method"], scope["path"], scope["query_string"]) == ("PUT", "/a b", b"c=d")
        assert (b"x-own", b"Value") in scope["headers"]
        message: Message = {"more_body": True}
        while message["more_body"]:
            message = await receive()
            came.append((message["body"], len(made)))
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-back", b"1")]})
        for body, more in ((b"an", True), (b"swer", False)):
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async with client(app) as http:
        answer = await http.put("/a b?c=d", headers={"X-Own": "Value"}, content=pieces())
    assert came == [(b"one", 1), (b"two", 2), (b"", 2)]
    assert (answer.status_code, answer.headers["x-back"], answer.content) == (201, "1", b"answer")


async def test_an_app_that_hangs_is_waited_for_as_long_as_the_client_wants() -> None:
    """Then it is told that the client has gone."""
    told = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    async with client(app) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/", timeout=0.01)
        await told.wait()
