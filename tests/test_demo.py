"""The demo: true words from real audio, on this machine, through the ordinary command."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest

DEMO = Path(__file__).parents[1] / "batcher" / "demo"
DAMAGED = "damaged/broken-off-copy.flac"


Demo = tuple[Path, "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module", params=["rest", "grpc"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Run the demo once over each API; return where its transcripts are and how it ended."""
    out = tmp_path_factory.mktemp("demo") / request.param
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHER_", "SONIOX_"))}
    command = [sys.executable, "-m", "batcher", "demo", "-o", str(out), "--api", request.param]
    result = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=110, check=False)
    return out, result


def plain(text: str) -> str:
    """Return words only, so that punctuation and capitals do not count as errors."""
    return " ".join(re.sub(r"[^\w\s']", " ", text.lower()).split())


def spoken() -> dict[str, list[str]]:
    """Return what is said in every good recording; the service hears two channels as one."""
    texts = json.loads((DEMO / "texts.json").read_text("utf-8"))
    return {name: text["together"] if isinstance(text, dict) else [text] for name, text in texts.items() if text}


def recognised(out: Path, name: str) -> list[str]:
    """Return what was recognised in a recording, one text a channel."""
    document = json.loads((out / f"{name}.json").read_text("utf-8"))
    return ["".join(word["text"] for word in part["words"]) for part in document["parts"]]


def test_the_demo_succeeds_when_exactly_the_damaged_recording_failed(
    demo: Demo,
) -> None:
    """It exits 0 and names the one failure."""
    _, result = demo
    assert result.returncode == 0, result.stdout + result.stderr
    assert "broken-off-copy.flac" in result.stdout
    assert "failed 1" in result.stdout


def test_every_good_recording_has_every_format_and_the_damaged_one_none(
    demo: Demo,
) -> None:
    """The tree of outputs mirrors the tree of recordings."""
    out, _ = demo
    missing = [f"{name}.{end}" for name in spoken() for end in ("txt", "json") if not (out / f"{name}.{end}").exists()]
    assert missing == []
    assert not (out / f"{DAMAGED}.txt").exists()


def test_the_words_are_those_that_were_spoken(demo: Demo, record_property: Callable[[str, object], None]) -> None:
    """The word error rate over all recordings is at most 15 per cent."""
    out, _ = demo
    pairs = [
        (plain(said), plain(heard))
        for name, texts in spoken().items()
        for said, heard in zip(texts, recognised(out, name), strict=True)
    ]
    rate = jiwer.wer([said for said, _ in pairs], [heard for _, heard in pairs])
    record_property("word error rate of the demo", f"{rate:.1%} over {len(pairs)} texts")
    assert rate <= 0.15


TEXTS: dict[str, dict[str, list[str]]] = {}  #: of the APIs so far


def test_both_apis_bring_the_same_words(demo: Demo) -> None:
    """What a recording says does not depend on the way it went."""
    out, _ = demo
    TEXTS[out.name] = {name: recognised(out, name) for name in spoken()}
    assert all(texts == TEXTS[out.name] for texts in TEXTS.values())
