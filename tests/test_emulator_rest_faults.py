"""Faults on the wire of the REST face: answers lost before and after the effect, gateways, old lists, cuts."""

from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from batcher.emulator.faults import Trouble
from batcher.emulator.server import EmulatorSettings, serve
from batcher.emulator.tally import Call
from tests.emulator_tools import HandClock
from tests.rest_wire import KEY, Wire, said, wire

pytestmark = pytest.mark.anyio

EFFECTS = {Call.UPLOAD: "files", Call.SUBMIT: "jobs"}


async def change(api: Wire, call: Call) -> httpx.Response:
    """Make something."""
    return await (api.upload() if call is Call.UPLOAD else api.create())


def left(api: Wire, call: Call) -> int:
    """Return how many objects of that kind there are."""
    held: list[Any] = getattr(api.account, EFFECTS[call])
    return len(held)


@pytest.mark.parametrize("call", [Call.UPLOAD, Call.SUBMIT])
@pytest.mark.parametrize(("trouble", "effect"), [(Trouble.LOST_BEFORE, 0), (Trouble.LOST_AFTER, 1), (Trouble.LATE, 1)])
async def test_an_answer_is_lost_before_or_after_the_effect(call: Call, trouble: Trouble, effect: int) -> None:
    """The client sees the same broken connection, and only the account knows. The next call is fine again."""
    async with wire() as api:
        api.plan.add(call, trouble, ms=0)
        with pytest.raises(httpx.TransportError):
            await change(api, call)
        assert left(api, call) == effect
        assert (await change(api, call)).status_code == 201
        assert api.account.tally.injected == {f"{call}.{trouble}": 1}


@pytest.mark.parametrize(("code", "status"), [("INTERNAL", 500), ("DEADLINE_EXCEEDED", 504)])
@pytest.mark.parametrize("call", [Call.UPLOAD, Call.SUBMIT])
async def test_an_answer_may_be_lost_behind_an_error(call: Call, code: str, status: int) -> None:
    """A server error proves nothing: the object is there."""
    async with wire() as api:
        api.plan.add(call, Trouble.LOST_AFTER, code)
        assert (await change(api, call)).status_code == status
        assert left(api, call) == 1


@pytest.mark.parametrize(("trouble", "status"), [(Trouble.LOST_BEFORE, 204), (Trouble.LOST_AFTER, 404)])
async def test_deletes_lose_their_answers_too(trouble: Trouble, status: int) -> None:
    """Of files and of transcriptions; the second try tells whether the first one had its effect."""
    async with wire() as api:
        paths = {
            Call.DELETE: f"/transcriptions/{await api.completed()}",
            Call.DELETE_FILE: f"/files/{(await api.upload()).json()['id']}",
        }
        for call, path in paths.items():
            api.plan.add(call, trouble)
            with pytest.raises(httpx.TransportError):
                await api.delete(path)
            assert (await api.delete(path)).status_code == status


async def test_gateways_speak_html() -> None:
    """Whatever the client accepts, 502 and 503 by turns; nothing happens."""
    async with wire() as api:
        for status in (503, 502, 503):
            api.plan.add(Call.SUBMIT, Trouble.REFUSED, "UNAVAILABLE")
            answer = await api.create()
            assert answer.status_code == status
            assert answer.headers["content-type"].startswith("text/html")
            assert answer.text.startswith("<html>")
        assert api.account.stored == 0


@pytest.mark.parametrize(
    ("code", "status", "error_type"),
    [("INTERNAL", 500, "internal_error"), ("DEADLINE_EXCEEDED", 408, "request_timeout")],
)
async def test_the_service_itself_fails_in_json(code: str, status: int, error_type: str) -> None:
    """In the form of its other errors."""
    async with wire() as api:
        for call, ask in ((Call.SURVEY, api.get("/transcriptions")), (Call.UPLOAD, api.upload())):
            api.plan.add(call, Trouble.REFUSED, code)
            assert said(await ask) == (status, error_type)


@pytest.mark.parametrize("cut_after", [0, 1])
async def test_an_upload_is_cut_and_leaves_nothing(cut_after: int) -> None:
    """Wherever it breaks."""
    async with wire() as api:
        api.plan.add(Call.UPLOAD, Trouble.CUT, cut_after=cut_after)
        with pytest.raises(httpx.TransportError):
            await api.upload(bytes(5_000_000))
        assert api.account.files == []


async def test_a_creation_is_cut_before_it_begins() -> None:
    """Its body is too short to be cut in the middle."""
    async with wire() as api:
        api.plan.add(Call.SUBMIT, Trouble.CUT)
        with pytest.raises(httpx.TransportError):
            await api.create()
        assert api.account.stored == 0


async def test_a_transcript_is_cut_in_the_middle() -> None:
    """Its head promises more than comes; the next try has all of it."""
    async with wire() as api:
        path = f"/transcriptions/{await api.completed()}/transcript"
        api.plan.add(Call.FETCH, Trouble.CUT)
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            await api.get(path)
        assert (await api.get(path)).json()["text"]


@pytest.mark.parametrize(("call", "kind"), [(Call.FILES, "files"), (Call.SURVEY, "transcriptions")])
async def test_a_list_may_be_old(call: Call, kind: str) -> None:
    """It shows what was deleted and lacks what is new."""
    async with wire() as api:
        await api.upload(client_reference_id="old")
        job = await api.completed(client_reference_id="old")
        await api.delete(f"/transcriptions/{job}")
        await api.delete(f"/files/{api.account.files[0].id}")
        await api.upload(client_reference_id="new")
        await api.create(client_reference_id="new")
        api.clock.pass_ms(1000)
        api.plan.add(call, Trouble.STALE, ms=1500)
        old = (await api.get(f"/{kind}")).json()[kind]
        new = (await api.get(f"/{kind}")).json()[kind]
        assert [[entry["client_reference_id"] for entry in entries] for entries in (old, new)] == [["old"], ["new"]]


async def test_a_list_may_run_backwards() -> None:
    """What was completed seems to be at work again, and is not."""
    async with wire() as api:
        job = await api.completed()
        api.plan.add(Call.SURVEY, Trouble.BACKWARDS)
        statuses = [(await api.get("/transcriptions")).json()["transcriptions"][0]["status"] for _ in range(2)]
        assert statuses == ["processing", "completed"]
        assert (await api.get(f"/transcriptions/{job}")).json()["status"] == "completed"


async def test_what_was_made_late_is_listed_late() -> None:
    """It exists and counts; for a while only the account knows."""
    async with wire() as api:
        api.plan.add(Call.SUBMIT, Trouble.LATE, ms=30_000)
        with pytest.raises(httpx.TransportError):
            await api.create()
        assert ((await api.get("/transcriptions")).json()["transcriptions"], api.account.stored) == ([], 1)
        api.clock.pass_ms(30_000)
        assert len((await api.get("/transcriptions")).json()["transcriptions"]) == 1


async def test_an_answer_may_take_its_time() -> None:
    """The effect is there before it."""
    async with wire() as api:
        api.plan.add(Call.SUBMIT, Trouble.DELAYED, ms=300)
        begin = anyio.current_time()
        with anyio.move_on_after(0.1):
            await api.create()
        assert api.account.stored == 1
        api.plan.add(Call.SUBMIT, Trouble.DELAYED, ms=300)
        assert (await api.create()).status_code == 201
        assert anyio.current_time() - begin >= 0.3


async def test_faults_of_the_settings_reach_the_wire() -> None:
    """Verbs of the REST API have names of their own in the plan."""
    settings = EmulatorSettings(grpc=False, faults="upload.lost-after=1")
    async with (
        serve(settings, clock=HandClock()) as running,
        httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as client,
    ):
        with suppress(httpx.TransportError):
            answer = await client.post(f"{running.rest_url}/v1/files", files={"file": ("a.wav", b"x")})
            assert answer.is_server_error, "a lost answer is a broken connection or an error"
        account = running.core.rest(KEY)
        assert (len(account.files), account.tally.injected) == (1, {"upload.lost-after": 1})
