"""A guard, with the few words that break it.

`before` stands exactly once in `path`; a guard that was rewritten makes its mutant fail to apply, so the list cannot
fall behind.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """A few words, and what stands there instead."""

    path: str  #: below the repository
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard, broken."""

    name: str  #: what the mutant does
    path: str  #: below the repository
    before: str
    after: str
    kinds: tuple[str, ...] = ()  #: the trouble that this guard is there for, where few nights have it
    hunter: str = ""  #: the test that finds it, as pytest names it, where the simulation cannot
    nights: int = 4  #: within how many it was found when it was last hunted, roundly
    also: Edit | None = None  #: a second guard that would hide it

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Return everything that is broken."""
        first = Edit(self.path, self.before, self.after)
        return (first, self.also) if self.also else (first,)
