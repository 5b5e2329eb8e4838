"""Let the simulation hunt every mutant: ``python -m tests.mutants [NAME...]``; exit 1 when one of them survives."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.guards import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
NIGHTS = 200
TIMEOUT_SECONDS = 900.0
_CAUGHT = 1  #: exit code of a hunt that found something


def broken(mutant: Mutant, folder: Path) -> Path:
    """Return a copy of the code with the guard broken."""
    for name in ("batcher", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "recordings"))
    target = folder / mutant.path
    text = target.read_text("utf-8")
    assert text.count(mutant.before) == 1, f"{mutant.name}: its guard stands {text.count(mutant.before)} times"
    target.write_text(text.replace(mutant.before, mutant.after), "utf-8")
    return folder


def hunt(mutant: Mutant, nights: int = NIGHTS) -> str:
    """Return what caught the mutant, or nothing when it survived."""
    with tempfile.TemporaryDirectory() as folder:
        by_nights = [sys.executable, "-m", "tests.mutants.hunt", str(nights)]
        by_test = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutant.hunter]
        command = by_test if mutant.hunter else by_nights
        place = broken(mutant, Path(folder))
        try:
            done = subprocess.run(
                command, cwd=place, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return "it never came to an end"
    return _last_line(done.stdout + done.stderr) if done.returncode == _CAUGHT else ""


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it ended with an error")


def main(names: Sequence[str]) -> int:
    """Hunt all mutants, or those whose names contain one of `names`, two at a time."""
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    survivors = 0
    with ThreadPoolExecutor(2) as hunters:
        for mutant, caught in zip(chosen, hunters.map(hunt, chosen), strict=True):
            survivors += not caught
            sys.stdout.write(f"{'caught  ' if caught else 'SURVIVED'} {mutant.name}: {caught}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutants, {survivors} survived {NIGHTS} nights\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
