"""Makes a night that violates something as small as it goes: what is not needed for the violation is left out."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.story import Story

MOST_TRIES = 80

Violates = Callable[[Story], bool]


def shrink(story: Story, violates: Violates) -> Story:
    """Return the smallest night found in which `violates` still holds."""
    tries = 0
    smaller = _smaller(story)
    while tries < MOST_TRIES:
        candidate = next(smaller, None)
        if candidate is None:
            return story
        tries += 1
        if violates(candidate):
            story, smaller = candidate, _smaller(candidate)
    return story


def _smaller(story: Story) -> Iterator[Story]:
    """Yield the same night with less in it, the greatest steps first."""
    if story.second:
        yield replace(story, second=0)
    for kind in story.kinds:
        yield story.without(kind)
    for number in (0, story.ends // 2, story.ends - 1):
        if 0 <= number < story.ends:
            yield replace(story, ends=number)
    for name in ("recordings", "second"):
        now, least = getattr(story, name), int(name == "recordings")
        for fewer in (now // 2, now * 3 // 4, now - 1):
            if least <= fewer < now:
                yield replace(story, **{name: fewer})
