"""One look at the account: all files, all transcriptions, joined, and whether the look was complete.

The service lists in pages and promises nothing about a list that changes while it is read. A look is complete,
and can prove that something is not there, only if

- no page showed anything twice, and no cursor came back;
- a list of several pages was not crossed by a submission or a deletion of our own;
- it holds as many as the service counts, give or take our own submissions and deletions meanwhile. The counts
  of the playground may be in the list or not: both are taken, and what is not takes room all the same. The service
  is asked for the counts when a list had several pages, and else every `COUNT_SECONDS`: a single page is one
  answer, and nothing can fall between its lines.

Files are listed before transcriptions. So a transcription made meanwhile is listed without its file's size
rather than its file as one that nobody uses. A glance lists the transcriptions alone: it shows what has ended for
half the requests, and is never complete.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import anyio
from pydantic import BaseModel
from soniox.types import GetFilesCountResponse, GetTranscriptionsCountResponse

from batcher.model import NOTHING, Survey
from batcher.service.rest_http import Client
from batcher.service.rest_messages import (
    FilesPage,
    Item,
    ListedFile,
    ListedTranscription,
    Page,
    TranscriptionsPage,
    is_id,
    joined,
)

PAGE = 1000  #: objects a page: the most the service allows
MAX_PAGES = 100  #: many times what the service's limits allow an account to hold
COUNT_SECONDS = 60.0

M = TypeVar("M", bound=BaseModel)
Counts = GetFilesCountResponse | GetTranscriptionsCountResponse


@dataclass(slots=True)
class Changes:
    """Our own changes to what is listed: how many were begun, and how many are under way."""

    begun: int = 0
    active: int = 0

    @contextmanager
    def change(self) -> Iterator[None]:
        """Count a submission or a deletion for as long as it may take effect."""
        self.begun += 1
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1


@dataclass(slots=True)
class _Look(Generic[Item]):
    """What one list showed."""

    items: dict[str, Item] = field(default_factory=dict)
    pages: int = 0
    sound: bool = True  #: nothing came twice, and it ended
    unlisted: int | None = None  #: how many more the service counts, where it was asked

    def add(self, page: Page[Item]) -> None:
        self.pages += 1
        for item in page.items:
            self.sound = self.sound and item.id not in self.items
            self.items[item.id] = item

    def judge(self, crossed: int, counts: Counts | None) -> None:
        """Decide whether nothing can be missing, given how many changes of our own it may show by half."""
        self.sound = self.sound and not (self.pages > 1 and crossed)
        if counts is not None:
            number = len(self.items)
            self.sound = self.sound and counts.public_api - crossed <= number <= counts.total + crossed
            # All of the playground's or none: changes of our own meanwhile blur the difference.
            self.unlisted = counts.playground if 2 * (counts.total - number) > counts.playground else 0


class Listing:
    """Looks at one account, again and again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.files = Changes()
        self.transcriptions = Changes()
        self._models: dict[str, str] = {}  # of the transcriptions last listed; their transcripts do not tell
        self.heard = False  #: a list of the latest look was answered
        self._counted = float("-inf")
        self._unlisted = NOTHING

    async def survey(self) -> Survey:
        """Return everything there is. Raises what the client raises."""
        self.heard = False
        client, due = self._client, anyio.current_time() >= self._counted + COUNT_SECONDS
        files = await self._look("/files", FilesPage, self.files, client.files.count, due)
        works = await self._look("/transcriptions", TranscriptionsPage, self.transcriptions, client.stt.count, due)
        if due:
            self._counted = anyio.current_time()
        self._remember_unlisted(files.unlisted, works.unlisted)
        return self._seen(files, works)

    async def glance(self) -> Survey:
        """Return the transcriptions, as one list shows them. Raises what the client raises."""
        self.heard = False
        works = await self._look("/transcriptions", TranscriptionsPage, self.transcriptions, None, due=False)
        return replace(self._seen(_Look(), works), complete=False)

    async def model_of(self, transcription: str) -> str:
        """Return the model that made a transcription: as the last list says, or as the service says when asked."""
        if transcription not in self._models:
            answer = await self._client.request("GET", f"/transcriptions/{transcription}")
            return ListedTranscription.model_validate_json(answer.content).model or ""
        return self._models[transcription]

    def _seen(self, files: "_Look[ListedFile]", works: "_Look[ListedTranscription]") -> Survey:
        self._models = {each.id: each.model or "" for each in works.items.values()}
        objects = joined(files.items.values(), works.items.values())
        usable = tuple(each for each in objects if is_id(each.id))
        whole = files.sound and works.sound and len(usable) == len(objects)
        return Survey(usable, complete=whole, unlisted=self._unlisted)

    def _remember_unlisted(self, files: int | None, transcriptions: int | None) -> None:
        if files is not None:
            self._unlisted = replace(self._unlisted, files=files)
        if transcriptions is not None:
            self._unlisted = replace(self._unlisted, stored=transcriptions)

    async def _look(
        self,
        path: str,
        page_type: type[Page[Item]],
        changes: Changes,
        count: Callable[[], Awaitable[Counts]] | None,
        due: bool,
    ) -> _Look[Item]:
        """Read a whole list; it is sound only if it is complete, as far as that can be told without `count`."""
        look: _Look[Item] = _Look()
        crossed = changes.active - changes.begun
        cursors = {None, ""}
        cursor: str | None = None
        while look.pages == 0 or (cursor not in cursors and look.pages < MAX_PAGES):
            cursors.add(cursor)
            page = await self._page(path, page_type, cursor)
            look.add(page)
            cursor = page.next_page_cursor
        look.sound = look.sound and not cursor
        counts = await count() if count and (due or look.pages > 1) else None
        look.judge(crossed + changes.begun, counts)
        return look

    async def _page(self, path: str, model: type[M], cursor: str | None) -> M:
        params = {"limit": PAGE} | ({"cursor": cursor} if cursor else {})
        response = await self._client.request("GET", path, params=params)
        page = model.model_validate_json(response.content)
        self.heard = True
        return page
