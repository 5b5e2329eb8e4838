"""Pythons for the alternatives: `soniox` 1.x and 2.x share one name, so the old one has an environment of its own.

It is the one that the tests of the legacy client use, made when it is not there.
"""

import subprocess
import sys
from pathlib import Path

VERSION = "1.10.1"
ENVIRONMENT = Path(__file__).parent.parent / ".venv-legacy"
PYTHON = ENVIRONMENT / "bin" / "python"

_ASK = "import importlib.metadata as m; print(m.version('soniox'))"


def legacy_python() -> Path:
    """Return the Python of an environment with the 1.x client. Blocks."""
    if not _has_it():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)  # noqa: S603
        pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"soniox=={VERSION}"], check=True)  # noqa: S603 - the command is ours
    return PYTHON


def _has_it() -> bool:
    if not PYTHON.exists():
        return False
    asked = subprocess.run([PYTHON, "-c", _ASK], capture_output=True, text=True, check=False)  # noqa: S603
    return asked.stdout.strip() == VERSION
