"""The key and the webhook's secret are in nothing that a run leaves behind or prints, however it ends."""

import json
import signal
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from threading import Event
from urllib.parse import quote, quote_plus

import pytest

from batcher.cli.app import main
from batcher.emulator.knobs import Knobs
from batcher.logs import LogFile
from batcher.model import RemoteObject, RemoteStatus, Survey
from batcher.service.shared import Key, keyless
from tests.emulated import emulated_rest, make_recordings
from tests.hostile import call, clean_environment, everything_below, gossiping

KEY = 'the "key"/of+one=user&100%'
SECRET = "Bearer s3cret/for+the=hook&1%"


def spellings(secret: str) -> set[bytes]:
    """Return a secret as it is, and as it may be written on its way: URLs, JSON, base64 (each alignment)."""
    texts = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)}
    whole = [b64encode(b"x" * shift + secret.encode())[4 * (shift > 0) : -4] for shift in range(3)]
    return {text.encode() for text in texts} | set(whole)


def leaks(folder: Path, *outputs: bytes, key: str = KEY, secret: str = SECRET) -> list[str]:
    """Return where the key or the secret stands, in any spelling: files, their names, and what was printed."""
    found = [*everything_below(folder), *((Path("printed"), output) for output in outputs)]
    wanted = spellings(key) | spellings(secret)
    return [str(path) for path, content in found if any(spelling in content for spelling in wanted)]


def run(environment: dict[str, str], folder: Path, *more: object) -> "subprocess.CompletedProcess[bytes]":
    """Run a batch in a directory that also takes what anything writes beside: here, home and temporary files."""
    make_recordings(folder / "in", 2)
    (folder / "tmp").mkdir(exist_ok=True)
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TMPDIR": str(folder / "tmp")}
    secrets = {"SONIOX_API_KEY": KEY, "SONIOX_API_WEBHOOK_SECRET": SECRET}
    arguments = ("-v", "run", folder / "in", "-o", folder / "out", "--log-level", "debug", *more)
    return call(environment | home | secrets, *arguments, cwd=folder)


KILLED = {"BATCHER_KILL": "acceptance-committed:1"}
HOOK = ("--webhook-url", "http://127.0.0.1:9/hook", "--webhook-header", "X-Secret")


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    """In every spelling, in a file, in a name, and in what was printed."""
    for number, spelling in enumerate(sorted(spellings(KEY))):
        (tmp_path / str(number)).write_bytes(b"x" + spelling + b"y")
    assert len(leaks(tmp_path, b"a" + b64encode(b"xy" + SECRET.encode()))) == len(spellings(KEY)) + 1


@pytest.mark.parametrize("api", ["rest", "grpc"])
@pytest.mark.parametrize(("refuses", "code"), [("everything", 5), ("create", 3)])
def test_a_refusal_that_repeats_the_key_gives_nothing_away(api: str, refuses: str, code: int, tmp_path: Path) -> None:
    """A refused key, and refused jobs: the service has the key in every text and every header of its answers."""
    with gossiping(api, f"bad key {KEY}!", refuses) as environment:
        result = run(environment, tmp_path, *(HOOK if api == "rest" else ()))
    assert result.returncode == code, result.stdout + result.stderr
    assert b"bad key <key>!" in result.stdout + result.stderr
    assert leaks(tmp_path, result.stdout, result.stderr) == []


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_failed_job_that_repeats_the_key_gives_nothing_away(api: str, tmp_path: Path) -> None:
    """The reason why a transcription failed is the service's text, like that of a refusal."""
    with gossiping(api, f"bad key {KEY}!") as environment:
        result = run(environment, tmp_path, "-f", "txt")
    assert result.returncode == 3, result.stdout + result.stderr
    assert leaks(tmp_path, result.stdout, result.stderr) == []


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_key_where_a_long_reason_is_cut_gives_not_even_its_beginning_away(api: str, tmp_path: Path) -> None:
    """Wherever the cut falls: the text is searched before it is shortened."""
    for before in (500 - len(KEY) - 5, 500 - len(KEY) // 2, 485):
        folder = tmp_path / str(before)
        folder.mkdir()
        with gossiping(api, "x" * before + KEY + "yyy") as environment:
            result = run(environment, folder)
        said = result.stdout + result.stderr
        assert leaks(folder, said, key=KEY[: len(KEY) // 3]) == []


def test_a_refusal_that_repeats_the_webhooks_secret_gives_nothing_away(tmp_path: Path) -> None:
    """A service that complains about the header may well quote its value."""
    with gossiping("rest", f"invalid value {SECRET}", "create") as environment:
        result = run(environment, tmp_path, *HOOK)
    assert result.returncode == 3, result.stdout + result.stderr
    assert leaks(tmp_path, result.stdout, result.stderr) == []


def test_an_id_that_holds_the_key_is_none() -> None:
    """A list with such an object is not complete, and the object is not acted on: ids are kept in the table."""
    key = Key("0123456789abcdef")
    objects = [RemoteObject(name, "", RemoteStatus.QUEUED) for name in ("x-0123456789abcdef/", "/0123456789", "3457")]
    seen = keyless(Survey(tuple(objects)), key)
    assert [each.id for each in seen.objects] == ["/0123456789", "3457"]
    assert not seen.complete
    assert keyless(seen, Key("3")).objects == seen.objects, "a key of one letter is in every other id"
    assert Key("3").is_in("3")


BREAKS = """
import sys
from batcher.service import rest
from batcher.__main__ import main

async def breaks(self, remote):
    key, headers = self._key.value, dict(self._client._headers)
    said, asked = " ".join(["private", "words"]), key in str(headers)
    return {}[remote]

rest.RestService.fetch = breaks
sys.exit(main())
"""


def test_an_unexpected_error_tells_where_and_not_what(tmp_path: Path) -> None:
    """The log has its traceback, without the values that the variables had; with -v, and when nobody catches it."""
    make_recordings(tmp_path / "in", 1)
    log, pause = tmp_path / "out" / ".batcher" / "log.jsonl", Event()
    with emulated_rest(Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40)) as emulator:
        environment = emulator.environment() | {"SONIOX_API_WEBHOOK_SECRET": SECRET, "SONIOX_API_KEY": KEY}
        command = [sys.executable, "-c", BREAKS, "-v", "run", "in", "-o", "out", "--log-level", "debug", *HOOK]
        with subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            while process.poll() is None and not (log.exists() and b"handler failed" in log.read_bytes()):
                pause.wait(0.02)
            process.send_signal(signal.SIGTERM)
            printed = process.communicate(timeout=40)
    assert "in breaks" in log.read_text()
    assert "private words" not in log.read_text() + str(printed)
    assert leaks(tmp_path, *printed) == []


BREAKS_OUTSIDE = """
import sys
from batcher.local_disk import LocalDisk
from batcher.__main__ import main

async def breaks(self):
    raise LookupError(f"no {KEY} and {[KEY, SECRET]}")

LocalDisk.free_bytes = breaks
sys.exit(main())
"""


@pytest.mark.parametrize("verb", ["run", "reconcile", "cancel"])
@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_an_end_that_nobody_foresaw_is_told_and_logged(verb: str, verbose: tuple[str, ...], tmp_path: Path) -> None:
    """By the innermost error, with its traceback in the log: both without what may not be known."""
    make_recordings(tmp_path / "in", 1)
    breaks = f"KEY, SECRET = {KEY!r}, {SECRET!r}\n{BREAKS_OUTSIDE}"
    run = ["in", "-o", "out", *HOOK]
    arguments = {"run": run, "reconcile": ["out"], "cancel": ["out", "--all"]}[verb]
    with emulated_rest(Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40)) as emulator:
        environment = emulator.environment() | {"SONIOX_API_WEBHOOK_SECRET": SECRET, "SONIOX_API_KEY": KEY}
        if verb != "run":  # these need a batch that has something at the service
            assert call(environment | KILLED, "run", *run, cwd=tmp_path).returncode == -signal.SIGKILL
        command = [sys.executable, "-c", breaks, *verbose, verb, *arguments]
        ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert b"batcher: unexpected: LookupError: no [the API key] and ['[the API key]', '[the API key]']" in ended.stderr
    assert (b"in breaks" in ended.stderr) is bool(verbose)
    last = json.loads((tmp_path / "out" / ".batcher" / "log.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["level"]) == ("ended unexpectedly", "error")
    assert "in breaks" in last["traceback"]
    assert "LookupError: no [the API key]" in last["traceback"]
    assert leaks(tmp_path, ended.stdout, ended.stderr) == []


def test_a_secret_is_known_however_python_spells_it(tmp_path: Path) -> None:
    """Errors show values as Python writes them, and the log writes that as JSON."""
    secret = 'it\'s\\a "secret"'
    file = LogFile(tmp_path / "log", [secret])
    for text in (secret, repr(secret), quote(secret, safe="")):
        file.write(json.dumps({"event": text}))
    file.close()
    assert "secret" not in (tmp_path / "log").read_text()


def test_no_option_takes_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments are seen by every user of the machine, and kept by the shell."""
    for verb in ("run", "doctor", "reconcile", "cancel", "retry"):
        assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    options = {word.strip(",[]") for word in text.split() if word.startswith("--")}
    assert {name for name in options if "key" in name or "secret" in name} == {"--key-file", "--webhook-secret-file"}


def test_a_key_in_the_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """As one types it for other tools: ``https://KEY@host``."""
    address = "https://user:pass-word-1@api.soniox.com"
    environment = clean_environment() | {"BATCHER_HOST": address}
    result = run(environment, tmp_path)
    assert result.returncode == 2
    assert leaks(tmp_path, result.stdout, result.stderr, key="pass-word-1") == []
