"""Lists of the REST face: pages, cursors, orders, and the usage log with its window of time."""

import base64
from itertools import chain

import httpx
import pytest

from batcher.emulator.knobs import Order
from tests.rest_wire import Wire, said, wire

pytestmark = pytest.mark.anyio


async def pages(api: Wire, kind: str, limit: int) -> list[list[str]]:
    """Return the references of a list, page by page."""
    found: list[list[str]] = []
    cursor = ""
    while True:
        body = (await api.get(f"/{kind}", limit=limit, cursor=cursor)).json()
        found.append([entry["client_reference_id"] for entry in body[kind]])
        cursor = body["next_page_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("kind", ["files", "transcriptions"])
async def test_lists_come_in_pages(kind: str) -> None:
    """Newest first, as many as asked for, and the last page has no cursor."""
    async with wire() as api:
        for number in range(5):
            await api.upload(client_reference_id=str(number))
            await api.create(client_reference_id=str(number))
        assert await pages(api, kind, 2) == [["4", "3"], ["2", "1"], ["0"]]
        assert await pages(api, kind, 5) == [["4", "3", "2", "1", "0"]]


@pytest.mark.parametrize("order", list(Order))
async def test_every_order_shows_each_object_once(order: Order) -> None:
    """Also the shuffled one, which is another at every listing."""
    async with wire(order=order) as api:
        for number in range(12):
            await api.upload(client_reference_id=f"{number:02}")
        first, second = [list(chain(*await pages(api, "files", 5))) for _ in range(2)]
        assert sorted(first) == sorted(second) == [f"{number:02}" for number in range(12)]
        assert {Order.NEWEST: first == sorted(first, reverse=True), Order.OLDEST: first == sorted(first)}.get(
            order, first != second
        )


async def test_what_is_deleted_meanwhile_shifts_no_page() -> None:
    """A cursor holds a place, not a number: nothing is left out when entries before it vanish."""
    async with wire() as api:
        for number in range(6):
            await api.upload(client_reference_id=str(number))
        first = (await api.get("/files", limit=3)).json()
        for file in first["files"]:
            await api.delete(f"/files/{file['id']}")
        rest = (await api.get("/files", limit=3, cursor=first["next_page_cursor"])).json()
        assert [file["client_reference_id"] for file in rest["files"]] == ["2", "1", "0"]


def written(text: str) -> str:
    """Return a text in the letters of a cursor."""
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["nonsense", "AAAA", "ümlaut", "=", "a" * 5000, written("newest:0:-3:00000000"), written("newest:0:x:00000000")],
)
async def test_a_cursor_that_no_page_gave_is_refused(cursor: str) -> None:
    """Wherever it comes from."""
    async with wire() as api:
        for path in ("/files", "/transcriptions"):
            assert said(await api.get(path, cursor=cursor)) == (400, "invalid_cursor")


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "ten", "", "1.5", "9" * 30, "٣"])
async def test_a_page_has_1_to_1000_entries(limit: str) -> None:
    """Anything else fails the validation."""
    async with wire() as api:
        answer = await api.get("/files", limit=limit)
        assert said(answer) == (400, "invalid_request")
        assert answer.json()["validation_errors"][0]["location"] == "query.limit"


async def usage(api: Wire, **query: str | int) -> httpx.Response:
    """Return the usage log of the hand clock's days."""
    return await api.get("/usage-logs", **{"start_time": "2023-11-14T00:00:00Z", "end_time": "2023-11-16", **query})


async def test_the_usage_log_tells_what_was_paid() -> None:
    """Costs are texts; an hour costs what the service's price list says; only successes are in it."""
    async with wire(bytes_per_second=1) as api:
        file = (await api.upload(bytes(3600))).json()["id"]
        for number in range(3):
            await api.completed(file_id=file, client_reference_id=str(number))
        await api.create()
        entries = (await usage(api)).json()["usage_logs"]
        assert [entry["client_reference_id"] for entry in entries] == ["0", "1", "2"]
        assert {(entry["cost_usd"], entry["input_audio_duration_ms"]) for entry in entries} == {
            ("0.10000000", 3600_000)
        }
        page = (await usage(api, limit=2, sort="end_time_desc")).json()
        assert [entry["client_reference_id"] for entry in page["usage_logs"]] == ["2", "1"]
        last = (await usage(api, sort="end_time_desc", cursor=page["next_page_cursor"])).json()
        assert [entry["client_reference_id"] for entry in last["usage_logs"]] == ["0"]
        later = await usage(api, start_time=entries[1]["end_time"], end_time=entries[2]["end_time"])
        assert [entry["client_reference_id"] for entry in later.json()["usage_logs"]] == ["1"]


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ({"start_time": "yesterday"}, "query.start_time"),
        ({"start_time": "2023-11-16T00:00:00Z"}, "query.end_time"),
        ({"end_time": "2024-11-16"}, "query.end_time"),
        ({"start_time": "2023-08-01", "end_time": "2023-08-02"}, "query.start_time"),
        ({"sort": "cost"}, "query.sort"),
    ],
)
async def test_a_window_of_the_usage_log_has_bounds(query: dict[str, str], location: str) -> None:
    """31 days long at most, 91 days old at most."""
    async with wire() as api:
        answer = await usage(api, **query)
        assert answer.json()["validation_errors"][0]["location"] == location
        assert (await api.get("/usage-logs")).status_code == 400
