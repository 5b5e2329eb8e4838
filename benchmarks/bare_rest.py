"""What batcher's uploads over REST are measured beside: the HTTP library it uses, fed a multipart body made by hand."""

import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp

from benchmarks.bare_file import BareFile
from benchmarks.fresh import Figures
from benchmarks.uploading import Program, measure

_HEAD = (
    b'--bare\r\nContent-Disposition: form-data; name="file"; filename="recording"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n"
)
_TAIL = b"\r\n--bare--\r\n"


class BareRest(Program):
    """The session and nothing on top."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__()
        self._session = session

    async def send(self, path: str) -> None:
        """Upload one recording, and ask for its transcription."""
        length = len(_HEAD) + Path(path).stat().st_size + len(_TAIL)  # noqa: ASYNC240 - as bare clients do
        headers = {"Content-Type": "multipart/form-data; boundary=bare", "Content-Length": str(length)}
        async with self._session.post("/v1/files", data=self._body(path), headers=headers) as answer:
            file = await answer.json()
        wish = {"file_id": file["id"], "model": "stt-async-v5"}
        async with self._session.post("/v1/transcriptions", json=wish) as answer:
            await answer.json()

    async def look(self) -> None:
        """List all files and all transcriptions."""
        for path in ("/v1/files", "/v1/transcriptions"):
            async with self._session.get(path, params={"limit": "1000"}) as answer:
                await answer.json()

    async def _body(self, path: str) -> AsyncIterator[bytes]:
        yield _HEAD
        file = BareFile(path)
        async for piece in file.pieces():
            yield piece
        assert file.hash.digest()
        self.sealed_whole += 1
        yield _TAIL


async def once(url: str, chain: str, paths: Sequence[str], rest_seconds: float) -> Figures:
    """Measure one case in this process, which must be fresh; the first of `paths` is to get warm."""
    trusted = ssl.create_default_context(cafile=chain) if chain else True
    connector = aiohttp.TCPConnector(ssl=trusted)
    async with aiohttp.ClientSession(url, connector=connector, headers={"Authorization": "Bearer key"}) as session:
        return await measure(BareRest(session), paths, rest_seconds)
