"""The REST face keeps to its own OpenAPI description: schemathesis sends what fits it and what does not."""

import subprocess
import sys
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.rest_calls import CALLS
from batcher.emulator.rest_openapi import document
from batcher.emulator.server import EmulatorSettings, serve
from batcher.emulator.tally import Call

KEY = "the-only-key"
KNOBS = Knobs(keys=frozenset({KEY}), queue_ms=0, min_work_ms=0, max_work_ms=0, rest=RestKnobs(requests_per_minute=0))

# What fits the description may still be refused: a description cannot say which files, models and cursors there are,
# nor that exactly one of two fields is to be there.
LEFT_OUT = "positive_data_acceptance"


def test_every_answer_is_one_that_the_description_names(tmp_path: Path) -> None:
    """Status, type and body of every answer are as described; the key is asked for; nonsense is refused."""
    with start_blocking_portal() as portal:
        running = serve(EmulatorSettings(grpc=False, knobs=KNOBS))
        with portal.wrap_async_context_manager(running) as emulator:
            command = [sys.executable, "-m", "schemathesis.cli", "run", f"{emulator.rest_url}/v1/openapi.json"]
            command += ["--header", f"Authorization: Bearer {KEY}", "--exclude-checks", LEFT_OUT]
            command += ["--seed", "1", "--generation-deterministic", "--max-examples", "5", "--no-color"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            calls = portal.call(lambda: emulator.core.rest(KEY).tally.calls)
    assert done.returncode == 0, done.stdout + done.stderr
    dated = {Call.USAGE}  # its times must be of these days, which a description cannot say
    assert set(calls) >= set(Call) - dated, "some endpoint was never reached"


def test_the_description_names_every_endpoint() -> None:
    """Nothing is served that is not described, and each operation has a name of its own."""
    paths = document()["paths"]
    assert sorted((call.method.lower(), call.path) for call in CALLS) == sorted(
        (method, path) for path, operations in paths.items() for method in operations
    )
    names = [operation["operationId"] for operations in paths.values() for operation in operations.values()]
    assert len(set(names)) == len(CALLS)
