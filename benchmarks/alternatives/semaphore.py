"""REST with the official client, as its documentation shows it, under a semaphore.

Argument: JSON with `host`, `key`, `folder`, `at_once`, `poll_seconds`. Prints JSON: `jobs`, `makespan_s`,
`start_cpu_s`.
"""

import asyncio  # noqa: TID251 - what a user would write
import json
import sys
from pathlib import Path
from time import perf_counter, process_time

from soniox import AsyncSonioxClient  # noqa: TID251 - likewise


async def transcribe(client: AsyncSonioxClient, path: Path, poll_seconds: float) -> float:
    """Take one recording all the way; return when it was seen completed. The words are thrown away."""
    file = await client.files.upload(path)
    job = await client.stt.create(file_id=file.id)
    job = await client.stt.wait(job.id, interval_sec=poll_seconds)
    seen = perf_counter()
    assert job.status == "completed", job.error_message
    await client.stt.get_transcript(job.id)
    await client.stt.delete(job.id)
    await client.files.delete(file.id)
    return seen


async def main(host: str, key: str, folder: str, at_once: int, poll_seconds: float) -> None:
    """Transcribe a folder."""
    paths = sorted(Path(folder).iterdir())  # noqa: ASYNC240 - nothing else runs yet
    places = asyncio.Semaphore(at_once)

    async with AsyncSonioxClient(key, host + "/v1") as client:

        async def one(path: Path) -> float:
            async with places:
                return await transcribe(client, path, poll_seconds)

        began, cpu = perf_counter(), process_time()
        ends = await asyncio.gather(*map(one, paths))
    figures = {"jobs": len(paths), "makespan_s": max(ends) - began, "start_cpu_s": cpu}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
