"""One look at the account: pages, joins, and when a look proves that something is not there."""

from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from batcher.errors import Kind
from batcher.model import Load
from batcher.options import Options
from batcher.service import Submission, rest_listing
from batcher.service.rest import RestService, open_rest
from tests.emulator_tools import Tape
from tests.rest_tools import (
    Bridge,
    Script,
    a_file,
    a_transcription,
    counted,
    failure,
    files,
    http,
    listening,
    no_seal,
    read_head,
    refused,
    said,
    sent,
    service,
    transcriptions,
)

pytestmark = pytest.mark.anyio

LISTINGS = ["GET /files?limit=1000", "GET /transcriptions?limit=1000"]


def account(stored: int = 1, made: int = 1) -> Script:
    """Return a service with so many files and transcriptions on one page each, which it counts rightly."""
    script = Script()
    script.add("GET /files", files(*(a_file(number) for number in range(1, stored + 1))))
    script.add("GET /transcriptions", transcriptions(*(a_transcription(number) for number in range(1, made + 1))))
    script.add("GET /files/count", counted(stored))
    script.add("GET /transcriptions/count", counted(made))
    return script


async def test_a_look_is_two_requests() -> None:
    """And two more for the counts, now and then."""
    script = account()
    rest = service(script)
    first, second = await rest.survey(), await rest.survey()
    assert first == second
    assert [each.id for each in first.objects] == ["job-1/file-1"]
    assert first.complete
    assert sorted(script.seen[:4]) == sorted([*LISTINGS, "GET /files/count", "GET /transcriptions/count"])
    assert script.seen[4:] == LISTINGS


async def test_the_counts_are_asked_for_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at every look: they cost requests that jobs need."""
    monkeypatch.setattr(rest_listing, "COUNT_SECONDS", 0)
    script = account()
    rest = service(script)
    for _ in range(3):
        await rest.survey()
    assert len(script.seen) == 12


async def test_the_counts_are_asked_for_whenever_a_list_has_several_pages() -> None:
    """Something may have fallen through between two of them."""
    script = account()
    rest = service(script)
    assert (await rest.survey()).complete
    script.answers["GET /files"] = [files(a_file(1), cursor="x"), files(a_file(2))]
    assert not (await rest.survey()).complete
    assert (script.seen.count("GET /files/count"), script.seen.count("GET /transcriptions/count")) == (2, 1)


async def test_files_are_listed_before_transcriptions() -> None:
    """Otherwise a transcription made in between would leave its file as one that nobody uses, to be deleted."""
    script = account()
    await service(script).survey()
    assert script.seen.index(LISTINGS[0]) < script.seen.index(LISTINGS[1])


async def test_pages_are_followed_to_the_end() -> None:
    """The next page is asked for with the cursor of the one before, whatever is in it."""
    script = Script()
    script.add("GET /files", files(a_file(1), cursor="a/b+c=&"), files(a_file(2)))
    script.add("GET /transcriptions", transcriptions(a_transcription(1), cursor="x"), transcriptions(cursor=""))
    script.add("GET /files/count", counted(2))
    script.add("GET /transcriptions/count", counted(1))
    survey = await service(script).survey()
    assert [each.id for each in survey.objects] == ["job-1/file-1", "/file-2"]
    assert survey.complete
    assert "GET /files?limit=1000&cursor=a%2Fb%2Bc%3D%26" in script.seen


@pytest.mark.parametrize("what", ["files", "transcriptions"])
async def test_what_is_listed_twice_was_shifted(what: str) -> None:
    """A page boundary moved, so something else may have been missed; the object itself counts once."""
    script = account(2, 2)
    pages = (files(a_file(1), cursor="x"), files(a_file(1), a_file(2)))
    if what == "transcriptions":
        jobs = (a_transcription(1), a_transcription(2))
        pages = (transcriptions(jobs[0], cursor="x"), transcriptions(*jobs))
    script.answers[f"GET /{what}"] = list(pages)
    survey = await service(script).survey()
    assert not survey.complete
    assert len(survey.objects) == 2


async def test_a_cursor_that_comes_back_ends_the_list() -> None:
    """It is no list then, but also no endless one."""
    script = account()
    script.answers["GET /files"] = [files(a_file(1), cursor="x"), files(a_file(2), cursor="y"), files(cursor="x")]
    script.answers["GET /files/count"] = [counted(2)]
    survey = await service(script).survey()
    assert not survey.complete
    assert len(script.seen) == 6


@pytest.mark.parametrize(
    ("listed", "count", "complete"),
    [
        (2, counted(2), True),
        (2, counted(3), False),
        (2, counted(1), False),
        (2, counted(3, playground=1), True),
        (3, counted(3, playground=1), True),
        (1, counted(3, playground=1), False),
        (4, counted(3, playground=1), False),
    ],
)
async def test_a_list_of_another_length_than_the_count_is_not_complete(
    listed: int, count: httpx.Response, complete: bool
) -> None:
    """The playground's may be in it or not."""
    script = account(listed)
    script.answers["GET /files/count"] = [count]
    assert (await service(script).survey()).complete is complete


async def test_an_object_that_nobody_can_act_on_is_left_out() -> None:
    """What has no usable id is never deleted or fetched, and the list is not complete."""
    script = account(1)
    script.answers["GET /transcriptions"] = [transcriptions(a_transcription(1), a_transcription(2, id="../files"))]
    script.answers["GET /transcriptions/count"] = [counted(2)]
    survey = await service(script).survey()
    assert ([each.id for each in survey.objects], survey.complete) == (["job-1/file-1"], False)


async def during(rest: RestService, script: Script, call: str, change: Callable[[], Awaitable[object]]) -> bool:
    """Run a change of our own while a look waits for `call`; tell whether the look is complete."""

    async def answer(request: httpx.Request) -> httpx.Response:
        if f"{request.method} {request.url.path.removeprefix('/v1')}" == call and not changed:
            changed.append(True)
            await change()
        return await script(request)

    changed: list[bool] = []
    rest._client._wire = Bridge(httpx.MockTransport(answer))
    return (await rest.survey()).complete


@pytest.mark.parametrize("pages", [1, 2])
async def test_our_own_deletion_may_explain_a_count_but_not_a_page_boundary(pages: int) -> None:
    """One page is one answer; between two something may fall through."""
    script = account(2, 2)
    script.add("DELETE /files/file-9", said(204))
    script.answers["GET /files/count"] = [counted(1)]
    if pages == 2:
        script.answers["GET /files"] = [files(a_file(1), cursor="x"), files(a_file(2))]
    rest = service(script)
    complete = await during(rest, script, "GET /files", lambda: rest.delete("/file-9"))
    assert complete is (pages == 1)


async def test_a_deletion_that_was_begun_before_may_explain_a_count_too() -> None:
    """It takes effect some time between its request and its answer."""
    script, gate, asked = account(1), anyio.Event(), anyio.Event()
    script.answers["GET /files/count"] = [counted(2)]

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            asked.set()
            await gate.wait()
            return said(204)
        return await script(request)

    rest = service(answer)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rest.delete, "/file-2")
        await asked.wait()
        assert (await rest.survey()).complete
        gate.set()
    rest._listing._counted = float("-inf")
    assert not (await rest.survey()).complete


async def test_our_own_creation_explains_a_count() -> None:
    """The list was made before it, the count after it."""
    script = account(1, 1)
    script.add("POST /transcriptions", said(201, a_transcription(9)))
    script.answers["GET /transcriptions/count"] = [counted(2)]
    rest = service(script)
    by_url = Submission("r", Options(), Tape(b""), audio_url="https://x/y")
    assert await during(rest, script, "GET /transcriptions/count", lambda: rest.submit(by_url, no_seal))


async def test_our_own_submission_explains_a_count() -> None:
    """It may be in one and not in the other."""
    script = account(1, 2)
    script.add("POST /files", said(201, a_file(9)))
    script.add("POST /transcriptions", said(201, a_transcription(9)))
    script.answers["GET /files/count"] = [counted(2)]
    rest = service(script)
    assert await during(rest, script, "GET /files/count", lambda: rest.submit(sent(), no_seal))
    assert (rest._listing.files.active, rest._listing.transcriptions.active) == (0, 0)


async def test_an_upload_of_hours_spoils_no_look_before_its_end() -> None:
    """Its bytes change nothing; only with the last of them it may take effect."""
    script, looks = account(1, 1), list[bool]()
    script.add("POST /files", said(201, a_file(9)))
    script.add("POST /transcriptions", said(201, a_transcription(9)))
    script.answers["GET /files"] = [files(a_file(1), cursor="x"), files()]
    rest = service(script)

    class Slow:
        size = 4

        async def chunks(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
            yield b"slow"
            looks.append((await rest.survey()).complete)

    await rest.submit(sent(Slow()), no_seal)
    assert looks == [True]


async def test_a_failed_page_is_a_failed_look() -> None:
    """Unknown, never empty; also when it is only the last page."""
    script = account()
    script.answers["GET /files"] = [files(a_file(1), cursor="x"), refused(500, "internal_error")]
    assert (await failure(service(script).survey())).kind is Kind.LATER
    script = account()
    script.answers["GET /transcriptions/count"] = [refused(503, "service_unavailable")]
    assert (await failure(service(script).survey())).kind is Kind.UNREACHABLE


@pytest.mark.parametrize("body", [{}, {"files": None}, [], {"files": [{"id": 7}]}, {"files": [{"created_at": "soon"}]}])
async def test_a_page_that_makes_no_sense_is_a_failed_look(body: object) -> None:
    """Never an empty account."""
    script = account()
    script.answers["GET /files"] = [said(200, body)]
    assert (await failure(service(script).survey())).kind is Kind.UNREACHABLE


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_list_from_elsewhere_is_not_followed(status: int) -> None:
    """The key is for one host."""
    script = account()
    script.answers["GET /files"] = [httpx.Response(status, headers={"location": "http://elsewhere/"})]
    assert (await failure(service(script).survey())).kind is Kind.UNREACHABLE
    assert script.seen == [LISTINGS[0]]


async def test_a_look_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request has an end of its own."""

    async def never(_request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    from batcher.service import rest_http  # noqa: PLC0415

    known = rest_http.manner_of
    monkeypatch.setattr(
        rest_http,
        "manner_of",
        lambda *call: rest_http.Manner(known(*call).bucket, known(*call).urgency, 0.05, 0.05),
    )
    assert (await failure(service(never).survey())).kind is Kind.UNREACHABLE


@pytest.mark.parametrize(
    ("listed", "count", "unlisted"),
    [
        (2, counted(2), 0),
        (2, counted(1992, playground=1990), 1990),
        (1992, counted(1992, playground=1990), 0),
        (3, counted(1992, playground=1990), 1990),
    ],
)
async def test_what_only_the_count_shows_takes_room_all_the_same(
    listed: int, count: httpx.Response, unlisted: int
) -> None:
    """The web page's transcriptions are all listed or none; a change of our own meanwhile blurs that by a few."""
    script = account(0, listed)
    script.answers["GET /transcriptions/count"] = [count]
    assert (await service(script).survey()).unlisted == Load(stored=unlisted)


async def test_what_was_counted_once_is_remembered_between_two_counts() -> None:
    """Most looks do not ask."""
    script = account()
    script.answers["GET /files/count"] = [counted(8, playground=7)]
    rest = service(script)
    looks = [await rest.survey(), await rest.survey(), await rest.survey(thorough=False)]
    assert [each.unlisted for each in looks] == [Load(files=7)] * 3


async def test_a_glance_is_one_request_and_proves_no_absence() -> None:
    """It shows what has ended; the files that are not asked for may hold anything."""
    script = account(2, 1)
    survey = await service(script).survey(thorough=False)
    assert script.seen == LISTINGS[1:]
    assert ([each.id for each in survey.objects], survey.complete) == (["job-1/file-1"], False)


@pytest.mark.parametrize("thorough", [True, False])
async def test_a_service_that_falls_silent_has_not_answered(thorough: bool) -> None:
    """However many looks it answered before: the display says that it does not answer."""
    present = True

    async def handle(stream: SocketStream) -> None:
        while True:
            target = (await read_head(stream))[0].split(" ")[1].removeprefix("/v1/").partition("?")[0]
            if not present:
                return
            counts = {"total": 0, "public_api": 0, "playground": 0}
            await stream.send(http(200, counts if target.endswith("/count") else {target: []}))

    async with listening(handle) as host, open_rest(host, "key", requests_per_minute=0) as rest:
        assert (await rest.survey()).complete
        present = False
        error = await failure(rest.survey(thorough=thorough))
        assert (error.kind, error.answered) == (Kind.UNREACHABLE, False)


async def test_a_look_of_which_one_list_was_answered_was_answered() -> None:
    """The service is there, and does not list all that it holds."""
    script = account()
    script.answers["GET /transcriptions"] = [httpx.ReadError("cut")]
    error = await failure(service(script).survey())
    assert (error.kind, error.answered) == (Kind.UNREACHABLE, True)
