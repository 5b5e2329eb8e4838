"""Let the simulation hunt every mutant: ``python -m tests.mutants [NAME...]``; exit 1 unless each one is caught."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.guards import MUTANTS, Mutant
from tests.mutants.hunt import FOUND

ROOT = Path(__file__).parents[2]
NIGHTS = 200
TIMEOUT_SECONDS = 900.0
FAILED = 1  #: pytest's code for a run in which a test failed
PASSED = 0  #: of both hunts: nothing was noticed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a hunt. One that was neither caught nor survived proves nothing: the hunt itself broke."""

    word: str  #: `caught`, `SURVIVED` or `BROKEN`
    told: str  #: the line that proves it

    @property
    def caught(self) -> bool:
        """Tell whether a night's violation, or the named test, found the mutant."""
        return self.word == "caught"


def broken(mutant: Mutant, folder: Path) -> Path:
    """Return a copy of the code with the guard broken."""
    for name in ("batcher", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "recordings"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for edit in mutant.edits:
        target = folder / edit.path
        text = target.read_text("utf-8")
        assert text.count(edit.before) == 1, f"{mutant.name}: its guard stands {text.count(edit.before)} times"
        target.write_text(text.replace(edit.before, edit.after), "utf-8")
    return folder


def hunt(mutant: Mutant, nights: int = NIGHTS) -> Verdict:
    """Return what became of a mutant: by nights, or by the test that it names."""
    with tempfile.TemporaryDirectory() as folder:
        by_nights = [sys.executable, "-m", "tests.mutants.hunt", str(nights), *mutant.kinds]
        by_test = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", mutant.hunter]
        place = broken(mutant, Path(folder))
        try:
            done = subprocess.run(
                by_test if mutant.hunter else by_nights,
                cwd=place,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Verdict("BROKEN", f"no end within {TIMEOUT_SECONDS:.0f} s")
    return judge(mutant, done.returncode, done.stdout, done.stderr)


def judge(mutant: Mutant, code: int, out: str, err: str) -> Verdict:
    """Tell a mutant that was caught from a hunt that broke: the code and the line that it goes with must both be there.

    An import error, an error in the simulation itself and a test that cannot be collected are no catch.
    """
    if code == PASSED:
        return Verdict("SURVIVED", "")
    proof = rf"^FAILED {re.escape(mutant.hunter)}\b.*" if mutant.hunter else r"^night \d+: seed \d+ at .*"
    found = re.search(proof, out, re.MULTILINE)
    if found and code == (FAILED if mutant.hunter else FOUND) and "Failed: Timeout" not in found[0]:
        return Verdict("caught", found[0])
    return Verdict("BROKEN", f"code {code}: {_last_line(out + err)}")


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def main(names: Sequence[str]) -> int:
    """Hunt all mutants, or those whose names contain one of `names`, two at a time."""
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    at_large = 0
    with ThreadPoolExecutor(2) as hunters:
        try:
            for mutant, verdict in zip(chosen, hunters.map(hunt, chosen), strict=True):
                at_large += not verdict.caught
                print(f"{verdict.word:<8} {mutant.name}: {verdict.told}", flush=True)  # noqa: T201 - its report
            print(f"{len(chosen)} mutants, {at_large} not caught within {NIGHTS} nights", flush=True)  # noqa: T201
        except BrokenPipeError:  # nobody reads on: hunt no further
            hunters.shutdown(wait=False, cancel_futures=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return 1 if at_large else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
