"""What `doctor` looks at, one small function a subject; each says what it found, what that means and what to do."""

import importlib.util
import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from batcher.cli import quotas, words
from batcher.cli.key import VARIABLE, Key
from batcher.cli.place import Place
from batcher.model import LIMITED, NOTHING, Limits, Survey
from batcher.reference import parse

Level = Literal["ok", "warn", "bad"]

#: SQLite before this version may, in a rare race of several checkpointing processes, lose the end of the table's log.
_WAL_RESET_FIXED = (3, 51, 3)
_COMFORTABLE_SPACE = 1_000_000_000
_LEAST_FILES = 256
_CLOCK_MS = 60_000
_EXTRAS = {"demo": "faster_whisper", "keyring": "keyring"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor: how it is, what was found, what to do about it, and the exit code if it is bad."""

    level: Level
    text: str
    fix: str = ""
    code: int = 0


def check_key(key: Key | None) -> Check:
    """Tell whether there is a key, and from where; never the key."""
    if key is None:
        return Check("bad", "API key: none", f"export {VARIABLE}=... with your key from the Soniox console", 5)
    return Check("ok", f"API key: {len(key.value)} characters, from {key.origin}")


def check_limits(survey: Survey, limits: Limits, batch: str | None) -> Iterator[Check]:
    """Hold what the account holds against its limits, with the share of others."""
    ours, everybodys = NOTHING, survey.unlisted
    for found in survey.objects:
        reference = parse(found.reference)
        everybodys = everybodys.plus(found.load)
        ours = ours.plus(found.load) if reference is not None and reference.batch == batch else ours
    for name in LIMITED:
        limit = getattr(limits, name)
        if limit is not None:
            yield _check_limit(name, getattr(ours, name), getattr(everybodys, name), limit)


def _check_limit(name: str, ours: int, everybodys: int, limit: int) -> Check:
    spell = partial(quotas.amount, name)
    text = (
        f"{name}: {spell(everybodys)}/{spell(limit)}, {spell(ours)} of this batch, {spell(everybodys - ours)} of others"
    )
    if everybodys < limit:
        return Check("ok", text)
    return Check("warn", text, "a run waits until there is room; delete at the service what nobody needs")


def check_clock(survey: Survey, now: int) -> Check:
    """Compare this machine's clock with the service's, as far as the list tells: nothing is made in the future."""
    newest = max((found.created for found in survey.objects if found.created is not None), default=None)
    if newest is None:
        return Check("ok", "clock: cannot be told, the account holds nothing to compare with")
    if newest > now + _CLOCK_MS:
        behind = words.span((newest - now) / 1000)
        return Check("warn", f"clock: this machine's is at least {behind} behind the service's", "set the clock")
    return Check("ok", "clock: not behind the service's")


def check_access(place: Place) -> Check:
    """Tell whether outputs can be written."""
    folder = place.out
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    name = words.name(os.fsencode(folder.absolute()))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return Check("bad", f"write access: nothing can be written in {name}", "choose another OUT, or chmod it", 7)
    made = "" if folder == place.out else f", OUT will be made in {name}"
    return Check("ok", f"write access: yes{made}")


def check_space(place: Place, least: int) -> Check:
    """Tell how much disk space is left where the outputs go."""
    folder = place.out.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"disk space: {words.size(free)} free"
    if free < least:
        return Check("bad", f"{text}, less than min_free_space ({words.size(least)})", "free some space", 7)
    if free < _COMFORTABLE_SPACE:
        return Check("warn", text, "transcripts are small, but not that small; free some space")
    return Check("ok", text)


def check_sqlite() -> Check:
    """Tell the version of SQLite, and what an old one means here."""
    note = ""
    if sqlite3.sqlite_version_info < _WAL_RESET_FIXED:
        note = "; before 3.51.3 two processes that checkpoint at once could lose rows, here only the run does"
    return Check("ok", f"SQLite: {sqlite3.sqlite_version}{note}")


def check_open_files(concurrency: int) -> Check:
    """Tell whether the process may open enough files at once."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= max(_LEAST_FILES, 4 * concurrency)
    text = f"open files: {'unlimited' if soft == resource.RLIM_INFINITY else f'{soft:,}'} at once"
    return Check("ok", text) if enough else Check("warn", text, "type `ulimit -n 1024` before `batcher run`")


def check_extras() -> Check:
    """Tell which extras are installed."""
    found = [name for name, module in _EXTRAS.items() if importlib.util.find_spec(module) is not None]
    return Check("ok", f"extras: {', '.join(found) or 'none'} (there are {', '.join(_EXTRAS)})")
