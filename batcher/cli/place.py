"""Where a batch lives: its output directory, its table, and what lies beside it."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from batcher.cli.words import quoted
from batcher.errors import UsageError
from batcher.shard import Shard, parse_shard, parse_tag
from batcher.text import show_path

PRIVATE = ".batcher"  #: the directory in OUT that is batcher's own
TABLE = "jobs.sqlite3"


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one batch."""

    out: Path
    db: Path
    shard: Shard | None = None

    @property
    def state(self) -> Path:
        """Return the batch's private directory."""
        return _state(self.out, self.shard)

    @property
    def typed(self) -> str:
        """Return how the batch is named on a command line."""
        return f"{quoted(self.out)} --shard {self.shard}" if self.shard else quoted(self.out)

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

    def left(self) -> list[str]:
        """Return the names of the requests that lie there. Blocks."""
        return [path.name for path in self.requests.glob("*.json")]

    @property
    def last_run(self) -> Path:
        """Return the file that remembers how the latest `run` was called."""
        return self.state / "last-run.json"


def _state(out: Path, shard: Shard | None) -> Path:
    """Return the private directory of a batch; shards with one OUT have one each."""
    private = out / PRIVATE
    return private / f"shard-{shard.tag}" if shard else private


def place_of(out: Path, db: str | Path | None, shard: str = "") -> Place:
    """Return the place of the batch with this output directory; its table is `db` if that is given.

    Raises:
        UsageError: `shard` is none.
    """
    try:
        part = parse_shard(shard)
    except ValueError as error:
        raise UsageError(f"shard: {error}") from error
    return Place(out, Path(db).expanduser() if db else _state(out, part) / TABLE, part)


def locate(out: Path, db: object, config: Path | None = None, shard: object = None) -> Place:
    """Return the place of a batch for the verbs that need one. Raises UsageError when OUT's own table is gone."""
    from batcher.cli.belonging import check_there  # noqa: PLC0415 - it needs a place itself

    place = seek(out, db, config, shard)
    check_there(place)
    return place


def seek(out: Path, db: object, config: Path | None = None, shard: object = None) -> Place:
    """Return where a batch is, if there is one: no settings are checked, so it is quick.

    The table is found as `run` finds it: flag (also one of the latest run), the one that OUT says is its own,
    ``BATCHER_DB``, configuration file. So is the shard; where nothing says which, it is the only one that there is.
    """
    part = str(shard or os.environ.get("BATCHER_SHARD") or _in_file("shard", config) or _only_shard(out) or "")
    usual = place_of(out, None, part)
    given = str(db) if db else _remembered_db(usual) or _noted_db(usual)
    return place_of(out, given or os.environ.get("BATCHER_DB") or _in_file("db", config), part)


def shards_in(out: Path) -> list[Shard]:
    """Return the shards that have a table of their own in an output directory, in their order."""
    found = [parse_tag(table.parent.name.removeprefix("shard-")) for table in out.glob(f"{PRIVATE}/shard-*/{TABLE}")]
    return sorted((shard for shard in found if shard), key=lambda shard: (shard.parts, shard.part))


def _only_shard(out: Path) -> Shard | None:
    """Return the shard whose table is the only one in an output directory. Raises UsageError if there are several."""
    shards = [] if (_state(out, None) / TABLE).exists() else shards_in(out)
    if len(shards) > 1:
        names = ", ".join(map(str, shards[:8])) + (", …" if len(shards) > 8 else "")  # noqa: PLR2004 - a line's worth
        raise UsageError(f"there are {len(shards)} tables here: shards {names}", hint=f"Say which: --shard {shards[0]}")
    return shards[0] if shards else None


def _remembered_db(place: Place) -> str:
    from batcher.cli.memory import remembered_flags  # noqa: PLC0415 - it needs a place itself

    value = remembered_flags(place).get("db")
    return value if isinstance(value, str) else ""


def _noted_db(place: Place) -> str:
    """Return the table that OUT says is its own, if it is there: else another one may be known."""
    from batcher.cli.belonging import noted_table  # noqa: PLC0415 - it needs a place itself

    table = noted_table(place)
    return str(table) if table is not None and table.exists() else ""


def _in_file(key: str, config: Path | None) -> str:
    path = config_file(config)
    if path is None:
        return ""
    value = read_toml(path).get(key, "")
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
