"""Where a batch lives: its output directory, its table, and what lies beside it."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from batcher.errors import UsageError
from batcher.text import show_path


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one batch."""

    out: Path
    db: Path

    @property
    def state(self) -> Path:
        """Return the batch's private directory."""
        return self.out / ".batcher"

    @property
    def lock(self) -> Path:
        """Return the lock beside the table."""
        return self.db.with_name(self.db.name + ".lock")

    @property
    def log(self) -> Path:
        """Return the log."""
        return self.state / "log.jsonl"

    @property
    def requests(self) -> Path:
        """Return the directory in which requests to a run are left."""
        return self.state / "requests"

    @property
    def last_run(self) -> Path:
        """Return the file that remembers how the latest `run` was called."""
        return self.state / "last-run.json"


def place_of(out: Path, db: str | Path | None) -> Place:
    """Return the place of the batch with this output directory; its table is `db` if that is given."""
    own = out / ".batcher" / "jobs.sqlite3"
    return Place(out, Path(db).expanduser() if db else own)


def locate(out: Path, db: object, config: Path | None = None) -> Place:
    """Return the place of a batch for the verbs that only look: no settings are checked, so it is quick.

    The table is found as `run` finds it: flag (also one of the latest run), ``BATCHER_DB``, configuration file.
    """
    given = str(db) if db else _remembered_db(out)
    return place_of(out, given or os.environ.get("BATCHER_DB") or _db_in_file(config))


def _remembered_db(out: Path) -> str:
    from batcher.cli.memory import remembered_flags  # noqa: PLC0415 - it needs a place itself

    value = remembered_flags(place_of(out, None)).get("db")
    return value if isinstance(value, str) else ""


def _db_in_file(config: Path | None) -> str:
    path = config_file(config)
    if path is None:
        return ""
    value = read_toml(path).get("db", "")
    return value if isinstance(value, str) else ""


def config_file(chosen: Path | None) -> Path | None:
    """Return the configuration file: the chosen one, ``BATCHER_CONFIG``, or the user's own if there is one."""
    named = chosen or os.environ.get("BATCHER_CONFIG")
    if named:
        return Path(named).expanduser()
    own = user_config_file()
    return own if own.is_file() else None


def user_config_file() -> Path:
    """Return where the user's own configuration file would be."""
    from platformdirs import user_config_dir  # noqa: PLC0415 - most looks at a batch do not come here

    return Path(user_config_dir("batcher")) / "config.toml"


def read_toml(path: Path) -> dict[str, object]:
    """Return the content of a configuration file. Raises UsageError when it cannot be read."""
    name = show_path(os.fsencode(path))
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(
            f"the configuration file {name} cannot be read: {error.strerror}", hint="`batcher init` writes one."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration file {name} is not TOML: {error}") from error
