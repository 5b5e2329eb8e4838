"""The emulator with both faces: ports, switches, an end without leftovers, and the command that runs it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from batcher.emulator.server import EmulatorSettings, serve
from batcher.errors import UsageError

pytestmark = pytest.mark.anyio


async def test_both_faces_listen_and_each_can_be_switched_off() -> None:
    """A face that is off has no URL."""
    for grpc, rest in ((True, True), (True, False), (False, True)):
        async with serve(EmulatorSettings(grpc=grpc, rest=rest)) as running:
            assert (running.grpc_url != "", running.rest_url != "") == (grpc, rest)
            if rest:
                async with httpx.AsyncClient() as client:
                    assert (await client.get(f"{running.rest_url}/v1/files")).status_code == 401


async def test_a_port_that_is_taken_is_said() -> None:
    """Two emulators never share one, and the first one goes on."""
    async with serve(EmulatorSettings(grpc=False)) as running, httpx.AsyncClient() as client:
        port = int(running.rest_url.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}"):
            async with serve(EmulatorSettings(rest_port=port)):
                pass
        assert (await client.get(f"{running.rest_url}/v1/openapi.json")).json()["openapi"] == "3.1.0"


async def test_a_port_is_free_again_at_once() -> None:
    """Even while a client keeps its connection open."""
    async with httpx.AsyncClient() as client:
        async with serve(EmulatorSettings(grpc=False)) as running:
            port = int(running.rest_url.rpartition(":")[2])
            await client.get(f"{running.rest_url}/v1/files")
        async with serve(EmulatorSettings(grpc=False, rest_port=port)) as running:
            assert (await client.get(f"{running.rest_url}/v1/files")).status_code == 401


async def test_small_answers_come_at_once() -> None:
    """A connection that waits to fill its packets would take 40 ms for each of them."""
    async with serve(EmulatorSettings(grpc=False)) as running, httpx.AsyncClient() as client:
        times = []
        for _ in range(25):
            begin = anyio.current_time()
            await client.get(f"{running.rest_url}/v1/files")
            times.append(anyio.current_time() - begin)
    assert sorted(times)[12] < 0.03


async def test_an_error_inside_comes_out_as_it_is() -> None:
    """Whatever runs beside it, the error is not wrapped."""

    class OwnError(Exception):
        pass

    with pytest.raises(OwnError):
        async with serve(EmulatorSettings()):
            raise OwnError


async def test_an_installation_without_the_extra_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to get it; the legacy API needs none of it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="starlette"):
        async with serve(EmulatorSettings()):
            pass
    async with serve(EmulatorSettings(rest=False)) as running:
        assert running.grpc_url


def emulate(*arguments: str) -> "subprocess.Popen[str]":
    """Start the command."""
    command = [sys.executable, "-m", "batcher", "emulate", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("face", "names"), [("both", ["grpc", "rest"]), ("rest", ["rest"]), ("grpc", ["grpc"])])
def test_the_command_says_where_it_listens_and_ends_when_told(tmp_path: Path, face: str, names: list[str]) -> None:
    """One line of JSON, a face that is off left out; a report of both APIs at the end; nothing on stderr."""
    report = tmp_path / "report.json"
    with emulate("--face", face, "--files", "0", "--report", str(report)) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        assert sorted(urls) == names
        if "rest" in urls:
            upload = {"file": ("a.wav", b"x")}
            answer = httpx.post(f"{urls['rest']}/v1/files", files=upload, headers={"Authorization": "Bearer key"})
            assert answer.status_code == 429
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=20)
        assert (process.returncode, out, errors) == (0, "", "")
    accounts = json.loads(report.read_text("utf-8"))["rest_accounts"]
    assert [account["refusals_by_reason"] for account in accounts] == ([{"files": 1}] if "rest" in urls else [])
