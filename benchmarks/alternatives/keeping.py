"""The least that keeps batcher's promises for a job, without its engine: what Python costs at the very least here.

As batcher does it: a thread looks into the recording before it is sent, and reads and hashes it; every state is on disk
before the next step, with its line of history, committed together with what waits at the same time; the seal before the
service can accept, the transcript before it is deleted there; txt and json rendered and written whole. The look, the
commits, the rendering and the writing are batcher's own functions. What it has not: twins, limits, retries, a second run,
a display, anything that goes wrong. Argument: JSON with `api`, `host`, `key`, `folder`, `at_once`. Prints JSON: `jobs`,
`makespan_s`, `start_cpu_s`.
"""

import hashlib
import json
import sqlite3
import sys
from pathlib import Path
from time import perf_counter, process_time

import anyio

from batcher.clock import wall_clock
from batcher.files import Verdict, examine, offload, write_output
from batcher.model import FileBounds, Transcript
from batcher.options import Options
from batcher.render import About, render
from batcher.service import Service, Submission
from batcher.store.db import Database, open_database
from batcher.transcripts import pack
from benchmarks.alternatives.bare import Bytes, Looks, connect

_TABLES = (
    "CREATE TABLE kept (number INTEGER PRIMARY KEY, path TEXT, state TEXT, digest BLOB, remote TEXT, body BLOB) STRICT",
    "CREATE INDEX kept_state ON kept (state)",
    "CREATE UNIQUE INDEX kept_remote ON kept (remote)",
    "CREATE TABLE past (id INTEGER PRIMARY KEY, job INTEGER, at INTEGER, state TEXT) STRICT",
    "CREATE INDEX past_job ON past (job)",
)


class Keeper:
    """A table with a history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, paths: list[Path]) -> None:
        """Make the table, with a row for each recording."""

        def make(conn: sqlite3.Connection) -> None:
            for table in _TABLES:
                conn.execute(table)
            rows = [(number, str(path), "waiting") for number, path in enumerate(paths)]
            conn.executemany("INSERT INTO kept (number, path, state) VALUES (?, ?, ?)", rows)

        await self._database.write(make)

    async def move(self, number: int, state: str, **facts: object) -> None:
        """Make durable that a job is in another state now."""
        columns = "".join(f", {name} = :{name}" for name in facts)

        def write(conn: sqlite3.Connection) -> None:
            sql = f"UPDATE kept SET state = :state{columns} WHERE number = :number"  # noqa: S608 - names of our own
            conn.execute(sql, {"state": state, "number": number, **facts})
            _remember(conn, [number], state)

        await self._database.write(write)

    async def completed(self, remotes: list[str]) -> None:
        """Make durable which jobs are over, all that one look has shown."""

        def write(conn: sqlite3.Connection) -> None:
            sql = "UPDATE kept SET state = 'completed' WHERE remote = ? RETURNING number"
            numbers = [number for remote in remotes for (number,) in conn.execute(sql, (remote,)).fetchall()]
            _remember(conn, numbers, "completed")

        if remotes:
            await self._database.write(write)


def _remember(conn: sqlite3.Connection, numbers: list[int], state: str) -> None:
    at = wall_clock()
    conn.executemany("INSERT INTO past (job, at, state) VALUES (?, ?, ?)", [(each, at, state) for each in numbers])


def read(path: Path) -> tuple[bytes, bytes]:
    """Return a recording, which must be one, and its digest. Blocks."""
    assert examine(bytes(path), want_digest=False, bounds=FileBounds(), raw=False).verdict is Verdict.SUITABLE
    content = path.read_bytes()
    return content, hashlib.sha256(content).digest()


def write_outputs(out: Path, name: str, outputs: list[tuple[str, bytes]]) -> None:
    """Write what was rendered of one recording. Blocks."""
    for ending, data in outputs:
        write_output(out, f"{name}.{ending}", data, replace=False)


def rendered(transcript: Transcript, path: Path, content: bytes, digest: bytes) -> list[tuple[str, bytes]]:
    """Return a transcript in both formats."""
    about = About(path.name, bytes(path), len(content), digest.hex())
    return [(ending, render(ending, transcript, about)) for ending in ("txt", "json")]


async def one(number: int, path: Path, service: Service, keeper: Keeper, looks: Looks, out: Path) -> float:
    """Take one recording from the disk to its outputs; return when the service was seen to be done with it."""
    content, digest = await offload(read, path)
    await keeper.move(number, "uploading", digest=digest)

    async def seal() -> None:
        await keeper.move(number, "sealed")

    remote = await service.submit(Submission(f"{number}", Options(), Bytes(content)), seal)
    await keeper.move(number, "submitted", remote=remote)
    await looks.until_over(remote)
    ended = perf_counter()
    transcript = await service.fetch(remote)
    await keeper.move(number, "stored", body=pack(transcript))
    await offload(write_outputs, out, path.name, rendered(transcript, path, content, digest))
    await service.delete(remote)
    await keeper.move(number, "done")
    return ended


async def main(api: str, host: str, key: str, folder: str, at_once: int) -> None:
    """Transcribe a folder into `out` beside it."""
    paths, out = sorted(Path(folder).iterdir()), Path(folder).parent / "out"  # noqa: ASYNC240 - nothing else runs yet
    out.mkdir()
    places, ends = anyio.CapacityLimiter(at_once), []
    async with connect(api, host, key, at_once) as service, open_database(out / "kept.sqlite3") as database:
        keeper = Keeper(database)
        looks = Looks(service, keeper.completed)

        async def in_turn(number: int, path: Path) -> None:
            async with places:
                ends.append(await one(number, path, service, keeper, looks, out))

        began, cpu = perf_counter(), process_time()
        await keeper.begin(paths)
        async with anyio.create_task_group() as looking:
            looking.start_soon(looks.run)
            async with anyio.create_task_group() as jobs:
                for number, path in enumerate(paths):
                    jobs.start_soon(in_turn, number, path)
            looking.cancel_scope.cancel()
    figures = {"jobs": len(paths), "makespan_s": max(ends) - began, "start_cpu_s": cpu}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    anyio.run(lambda: main(**order))
