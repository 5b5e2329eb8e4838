"""The log's file: whose it is, and whose it is no more."""

from pathlib import Path

import pytest
import structlog

from batcher import logs
from batcher.clock import SystemClock
from batcher.logs import LogFile, open_log


def test_a_rotation_that_fails_half_way_leaves_every_other_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of the closed file may be another's next. Later the log goes on, and tells of what it lost."""
    monkeypatch.setattr(logs, "LARGEST_BYTES", 20)
    log = LogFile(tmp_path / "log")
    log.info("as long as a file may be")
    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "_open", refuse)
        log.info("not to be kept")
    with (tmp_path / "another").open("xb", buffering=0) as another:
        log.info("short")
        log.close()
        another.write(b"whole")
    assert (tmp_path / "another").read_bytes() == b"whole"
    assert (tmp_path / "log.1").read_text("utf-8") == "as long as a file may be\n"
    assert '"lines lost", "level": "warning", "count": 1' in (tmp_path / "log").read_text("utf-8")
    assert (tmp_path / "log").read_text("utf-8").endswith("short\n")


def refuse(_log: LogFile) -> None:
    """Answer as a machine without another open file."""
    raise OSError(24, "Too many open files")


def test_nothing_of_a_run_logs_after_its_end(tmp_path: Path) -> None:
    """Whoever configures structlog again does not get its file."""
    with open_log(tmp_path / "log", "info", SystemClock()):
        structlog.get_logger().info("within")
    with (tmp_path / "another").open("xb"):
        structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
        structlog.get_logger().info("after")
    assert (tmp_path / "another").read_bytes() == b""
    assert len((tmp_path / "log").read_text("utf-8").splitlines()) == 1
