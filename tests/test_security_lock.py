"""The lock of tested versions holds everything that an installation brings, and nothing else."""

from importlib.metadata import distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parents[1] / "constraints.txt"


def locked() -> dict[str, str]:
    """Return the version of every locked distribution, by its canonical name."""
    lines = [line.partition("#")[0].strip() for line in LOCK.read_text("utf-8").splitlines()]
    pairs = [line.split("==") for line in lines if line]
    return {canonicalize_name(name): known for name, known in pairs}


def brought() -> set[str]:
    """Return what ``pip install .[dev]`` brings here, by following what every distribution says it needs."""
    found: set[tuple[str, str]] = set()
    left = [("batcher", ""), ("batcher", "dev")]
    while left:
        name, extra = left.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for text in distribution(name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                left += [(canonicalize_name(needed.name), more) for more in ("", *needed.extras)]
    return {name for name, _ in found} - {"batcher"}


def test_the_lock_names_everything_that_is_installed_and_nothing_else() -> None:
    """What is not in it may change overnight; what nobody needs hides that."""
    assert sorted(brought()) == sorted(locked())


def test_what_is_installed_is_what_is_locked() -> None:
    """The tests prove something about these versions alone."""
    known = locked()
    assert {name: version(name) for name in brought() & known.keys()} == {
        name: known[name] for name in brought() & known.keys()
    }


def test_every_line_of_the_lock_is_one_exact_version() -> None:
    """No range, no address, no option of pip."""
    for line in LOCK.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert [each.operator for each in requirement.specifier] == ["=="]
            assert requirement.url is None
