"""The service's official Node SDK, unchanged, against the emulator's REST face.

It comes from npm and is kept in ``.node-sdk``. Where there is no node there is nothing to test.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from batcher.emulator.knobs import Knobs
from batcher.emulator.recognizers import echo_text
from batcher.emulator.server import EmulatorSettings, serve
from tests.emulator_tools import Tape

PACKAGE, VERSION = "@soniox/node", "2.3.0"
PLACE = Path(__file__).parent.parent / ".node-sdk"
SCRIPT = Path(__file__).parent / "node_sdk.mjs"
KEY = "key"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("node") is None or shutil.which("npm") is None, reason="there is no node"),
]


@pytest.fixture(scope="module")
def node_sdk() -> Path:
    """Return a directory in which node finds the SDK, installed when it is not there."""
    description = PLACE / "node_modules" / PACKAGE / "package.json"
    if not description.exists() or json.loads(description.read_text("utf-8"))["version"] != VERSION:
        PLACE.mkdir(exist_ok=True)
        npm = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(PLACE), f"{PACKAGE}@{VERSION}"]
        subprocess.run(npm, check=True, cwd=PLACE)
    return PLACE


async def test_the_node_sdk_works_unchanged(node_sdk: Path) -> None:
    """Upload, transcribe and wait, transcript, lists of small pages, errors, delete, delete all."""
    async with serve(EmulatorSettings(grpc=False, knobs=Knobs(keys=frozenset({KEY})))) as running:
        environment = {**os.environ, "SONIOX_API_BASE_URL": running.rest_url, "SONIOX_API_KEY": KEY}
        done = await anyio.run_process(
            ["node", "--input-type=module", "-"],
            input=await anyio.Path(SCRIPT).read_bytes(),
            env=environment,
            cwd=node_sdk,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert (running.core.rest(KEY).files, running.core.rest(KEY).jobs) == ([], [])
    text = echo_text(Tape(b"some audio").digest)
    assert json.loads(done.stdout) == {
        "file": ["ein Gespräch.wav", 10, "mine"],
        "created": ["queued", "stt-async-v5", "mine"],
        "early": [True, "http_error", 409, "transcription_invalid_state"],
        "done": ["completed", text, ["1", "2"]],
        "whole": ["completed", text],
        "names": ["4.wav", "3.wav", "2.wav", "1.wav", "0.wav", "ein Gespräch.wav"],
        "statuses": ["completed"],
        "counts": [
            {"total": 6, "public_api": 6, "playground": 0},
            {"total": 1, "public_api": 1, "playground": 0},
        ],
        "unknown": [None, None],
        "invalid": [True, "http_error", 400, "invalid_request"],
        "wrong": [True, "http_error", 401, "unauthenticated"],
        "models": True,
        "left": [0, 0],
    }
