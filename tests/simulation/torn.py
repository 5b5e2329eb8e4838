"""Lists of transcriptions that lack something, as one process gets them: always so that it can tell.

A list of several pages that our own changes cross may miss anything; and a service may lose a part of a page, which
its count shows. The same thing is missing again and again, as only an adversary would have it: two lists without it
are what batcher takes for proof.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import httpx

LIST, CHANGES = "/transcriptions", ("POST", "DELETE")


class TornPages:
    """Tears the pages of lists that have several."""

    def __init__(self, seconds: float, *, lossy: bool) -> None:
        self._seconds = seconds  # for how long at most one thing is missing
        self._lossy = lossy  #: also in lists that nothing crosses
        self._begun = self._active = 0  # changes of our own
        self._before = 0  # changes that were over when the list under way was begun
        self._victim, self._until = "", 0.0
        self._met = False  # whether the list under way would have shown it

    @contextmanager
    def crossing(self, request: httpx.Request) -> Iterator[None]:
        """Count a change of ours for as long as it may take effect."""
        change = request.method in CHANGES and LIST in request.url.path
        if _is_list(request) and "cursor" not in request.url.params:
            self._before = self._begun - self._active
            self._until, self._met = self._until if self._met else 0.0, False
        self._begun += change
        self._active += change
        try:
            yield
        finally:
            self._active -= change

    def torn(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        """Return an answer without what it is to lack."""
        if not _is_list(request) or response.status_code != httpx.codes.OK:
            return response
        page = json.loads(response.content)
        several = page["next_page_cursor"] or "cursor" in request.url.params
        if not several or not (self._lossy or self._begun > self._before):
            return response
        self._choose(page["transcriptions"])
        self._met = self._met or any(each["id"] == self._victim for each in page["transcriptions"])
        page["transcriptions"] = [each for each in page["transcriptions"] if each["id"] != self._victim]
        return httpx.Response(response.status_code, json=page)

    def _choose(self, transcriptions: list[dict[str, str]]) -> None:
        now = anyio.current_time()
        if now >= self._until and transcriptions:
            self._victim = min(transcriptions, key=lambda each: each["created_at"])["id"]
            self._until = now + self._seconds


def _is_list(request: httpx.Request) -> bool:
    return request.method == "GET" and request.url.path.endswith(LIST)
