"""The power of the disk under OUT is really cut, once: what was called done is there. `make powercut` does it often."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.image import why_not

ROOT = Path(__file__).parents[1]
CUT = """
import sys
from tests.crash.powercut import cut_batch
report = cut_batch("a test", cuts=1)
print(report.cuts, report.ends, report.violations)
sys.exit(bool(report.violations))
"""


def test_after_a_power_cut_the_same_command_completes_the_batch() -> None:
    """The file system loses what was not synced; nothing that was called done is lost, and nothing is torn."""
    if reason := why_not():
        pytest.skip(f"no power can be cut here: {reason}")
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", CUT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("1 1 []")
