"""gRPC with the official 1.x client: the documented example of one file, once per recording, in so many threads.

One thread is the documented example as a loop. Argument: JSON with `host`, `key`, `folder`, `at_once`, `poll_seconds`.
Prints JSON: `jobs`, `makespan_s`, `start_cpu_s`.
"""

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, sleep

from soniox.speech_service import SpeechClient  # type: ignore[import-not-found]  # of 1.x
from soniox.transcribe_file import transcribe_file_async  # type: ignore[import-not-found]


def transcribe(client: SpeechClient, poll_seconds: float, path: Path) -> float:
    """Take one recording all the way; return when it was seen completed. The words are thrown away."""
    file_id = transcribe_file_async(str(path), client, reference_name=path.name, model="en_v2")
    while (status := client.GetTranscribeAsyncStatus(file_id).status) not in ("COMPLETED", "FAILED"):
        sleep(poll_seconds)
    seen = perf_counter()
    assert status == "COMPLETED", status
    client.GetTranscribeAsyncResult(file_id)
    client.DeleteTranscribeAsyncFile(file_id)
    return seen


def main(host: str, key: str, folder: str, at_once: int, poll_seconds: float) -> None:
    """Transcribe a folder."""
    paths = sorted(Path(folder).iterdir())
    with SpeechClient(host, key) as client, ThreadPoolExecutor(at_once) as threads:
        one: Callable[[Path], float] = partial(transcribe, client, poll_seconds)
        began, cpu = perf_counter(), process_time()
        ends = list(threads.map(one, paths))
    figures = {"jobs": len(paths), "makespan_s": max(ends) - began, "start_cpu_s": cpu}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
