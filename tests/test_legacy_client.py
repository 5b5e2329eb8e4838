"""The service's own legacy client, unchanged, against the emulator; and ours leaves the same trace.

`soniox` 1.x and 2.x share one name, so the old one lives in a virtual environment of its own, which is made
once and kept in ``.venv-legacy``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher.emulator.account import Account
from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import File
from batcher.emulator.recognizers import echo_text
from batcher.emulator.server import EmulatorSettings, Running, serve
from batcher.options import ContextEntry, Options
from batcher.service import Submission
from batcher.service.grpc import open_grpc
from tests.emulator_tools import Tape, stereo_wav

VERSION = "1.10.1"
ENVIRONMENT = Path(__file__).parent.parent / ".venv-legacy"
PYTHON = ENVIRONMENT / "bin" / "python"

AT_ONCE = Knobs(queue_ms=0, min_work_ms=0, max_work_ms=0)  #: a job is completed as soon as somebody looks

PREAMBLE = """
import json, sys
from soniox.speech_service import SpeechClient, SpeechContext, SpeechContextEntry
from soniox.transcribe_file import transcribe_file_async

path = sys.argv[1]

def text(result):
    return "".join(word.text for word in result.words)
"""

WHOLE_WAY = """
with SpeechClient() as client:
    plain = transcribe_file_async(path, client, reference_name="plain", model="en_v2")
    channels = transcribe_file_async(
        path, client, reference_name="channels", model="en_v2", enable_separate_recognition_per_channel=True
    )
    one = client.GetTranscribeAsyncStatus(plain)
    everything = client.GetTranscribeAsyncAllFilesStatus()
    result = client.GetTranscribeAsyncResult(plain)
    parts = client.GetTranscribeAsyncResult(channels)
    client.DeleteTranscribeAsyncFile(plain)
    client.DeleteTranscribeAsyncFile(channels)
    print(json.dumps({
        "one": [one.file_id == plain, one.reference_name, one.status, one.created_time.seconds > 0],
        "all": sorted([file.reference_name, file.status] for file in everything),
        "text": text(result),
        "channels": [[part.channel, text(part)] for part in parts],
        "left": len(client.GetTranscribeAsyncAllFilesStatus()),
    }))
"""

ONE_RECORDING = """
with SpeechClient() as client:
    file_id = transcribe_file_async(
        path, client,
        reference_name="the reference",
        client_request_reference="the reference",
        model="en_v2",
        speech_context=SpeechContext(entries=[SpeechContextEntry(phrases=["amber", "fjord"], boost=2.5)]),
        enable_profanity_filter=True,
        content_moderation_phrases=["willow"],
        enable_global_speaker_diarization=True,
        min_num_speakers=1,
        max_num_speakers=3,
        enable_dictation=True,
        enable_separate_recognition_per_channel=True,
    )
    client.GetTranscribeAsyncAllFilesStatus()
    client.GetTranscribeAsyncResult(file_id)
    client.DeleteTranscribeAsyncFile(file_id)
    print("{}")
"""

SAME_OPTIONS = Options(
    model="en_v2",
    speech_context=(ContextEntry(phrases=("amber", "fjord"), boost=2.5),),
    profanity_filter=True,
    moderation_phrases=("willow",),
    speaker_diarization=True,
    min_speakers=1,
    max_speakers=3,
    dictation=True,
    separate_channels=True,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def legacy_python() -> Path:
    """Return the Python of an environment with the legacy client, made when it is not there."""
    asked = [str(PYTHON), "-c", "import importlib.metadata as m; print(m.version('soniox'))"]
    if PYTHON.exists():
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.stdout.strip() == VERSION:
            return PYTHON
    subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"soniox=={VERSION}"], check=True)
    return PYTHON


@pytest.fixture
def tape() -> Tape:
    """Return a recording of two channels."""
    return Tape(stereo_wav())


async def run_client(python: Path, script: str, tape: Tape, path: Path, running: Running, key: str) -> Any:
    """Run the client as its users do, configured by its environment, and return what it prints."""
    await anyio.Path(path).write_bytes(tape.content)
    environment = {**os.environ, "SONIOX_API_HOST": running.grpc_url, "SONIOX_API_KEY": key}
    done = await anyio.run_process([python, "-c", PREAMBLE + script, path], env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


async def test_the_legacy_client_works_unchanged(legacy_python: Path, tape: Tape, tmp_path: Path) -> None:
    """Upload, status of one and of all, result, result per channel, delete."""
    settings = EmulatorSettings(knobs=Knobs(queue_ms=0, min_work_ms=0, max_work_ms=0, words_per_message=4))
    async with serve(settings) as running:
        said = await run_client(legacy_python, WHOLE_WAY, tape, tmp_path / "a.wav", running, "key")
    assert said == {
        "one": [True, "plain", "COMPLETED", True],
        "all": [["channels", "COMPLETED"], ["plain", "COMPLETED"]],
        "text": echo_text(tape.digest),
        "channels": [[0, echo_text(tape.digest, 0)], [1, echo_text(tape.digest, 1)]],
        "left": 0,
    }


async def test_provisional_words_reach_the_legacy_client_as_it_expects(
    legacy_python: Path, tape: Tape, tmp_path: Path
) -> None:
    """Its own folding of the stream gives the same words, however the stream is cut."""
    knobs = Knobs(queue_ms=0, min_work_ms=0, max_work_ms=0, words_per_message=3, provisional_words=2)
    async with serve(EmulatorSettings(knobs=knobs)) as running:
        said = await run_client(legacy_python, WHOLE_WAY, tape, tmp_path / "a.wav", running, "key")
    assert said["text"] == echo_text(tape.digest)
    assert said["channels"][1] == [1, echo_text(tape.digest, 1)]


async def test_our_client_and_the_legacy_one_leave_the_same_trace(
    legacy_python: Path, tape: Tape, tmp_path: Path
) -> None:
    """The service cannot tell them apart: same calls, same outcomes, same recording, same options as sent."""
    kept: dict[str, tuple[object, ...]] = {}
    async with serve(EmulatorSettings(knobs=AT_ONCE)) as running:
        running.core.watch(lambda account, change, file: _keep(kept, account, change, file))
        await run_client(legacy_python, ONE_RECORDING, tape, tmp_path / "a.wav", running, "theirs")
        await _ours(running, tape)
        theirs, ours = (running.core.account(key) for key in ("theirs", "ours"))
        assert _trace(ours) == _trace(theirs)
        assert [entry[0] for entry in _trace(ours)] == ["submit", "survey", "fetch", "delete"]
        assert kept[ours.name] == kept[theirs.name]


async def _ours(running: Running, tape: Tape) -> None:
    async def seal() -> None:
        await anyio.lowlevel.checkpoint()

    async with open_grpc(running.grpc_url, "ours") as service:
        remote = await service.submit(Submission("the reference", SAME_OPTIONS, tape), seal)
        await service.survey()
        await service.fetch(remote)
        await service.delete(remote)


def _keep(kept: dict[str, tuple[object, ...]], account: Account, change: str, file: File) -> None:
    if change == "accepted":
        kept[account.name] = (file.reference, file.config, file.audio.digest, file.audio.size)


def _trace(account: Account) -> list[tuple[str, str, str]]:
    """Return the trace with file ids taken out."""
    return [(call, "" if subject.isdecimal() else subject, outcome) for call, subject, outcome in account.tally.trace]
