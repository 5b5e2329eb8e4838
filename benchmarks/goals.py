"""Goals: what a figure should be, said beside what it is."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.fresh import Figures


@dataclass(frozen=True, slots=True)
class Goal:
    """What one figure of some cases, by a regular expression, should be at `least`, or at `most`."""

    cases: str
    figure: str
    least: float = -math.inf
    most: float = math.inf

    @property
    def words(self) -> str:
        """Return the goal in words."""
        return f"at most {self.most:,g}" if math.isfinite(self.most) else f"at least {self.least:,g}"

    def reached(self, value: float) -> bool:
        """Tell whether a figure is what it should be."""
        return self.least <= value <= self.most


def judged(goals: Sequence[Goal], rows: Sequence[Figures]) -> Iterator[tuple[str, Goal, float]]:
    """Yield every case that a goal is for, with its figure; one that could not be taken is left out."""
    for goal in goals:
        for row in rows:
            value = row[goal.figure]
            if re.fullmatch(goal.cases, str(row["case"])) and not math.isnan(value):
                yield row["case"], goal, value
