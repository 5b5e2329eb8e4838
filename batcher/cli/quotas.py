"""The account's limits as a person sees them: how much is held of each, by us and by others."""

from batcher.cli import words
from batcher.engine import Pulse
from batcher.model import LIMITED, Load
from batcher.states import HELD_STATES
from batcher.store.reader import Counts

#: How each limit is called where it keeps the next recording from being sent.
PLACES = {
    "pending": "pending at the service",
    "stored": "stored at the service",
    "files": "files stored at the service",
    "bytes": "of recordings stored at the service",
}


def ours(counts: Counts) -> Load:
    """Return what the table's totals say we hold, about."""
    held = counts.of(HELD_STATES)
    return Load(counts.pending, held.jobs, held.jobs, held.bytes)


def amount(name: str, value: int) -> str:
    """Return so much of a limit in words."""
    return words.size(value) if name == "bytes" else words.number(value)


def share(name: str, counts: Counts, pulse: Pulse) -> str:
    """Return ``88+12/100``: ours, others' if there are any, and the limit."""
    held, others = getattr(ours(counts), name), getattr(pulse.foreign, name)
    more = f"+{amount(name, others)}" if others else ""
    return f"{amount(name, held)}{more}/{amount(name, getattr(pulse.limits, name))}"


def shown(pulse: Pulse) -> list[str]:
    """Return the limits worth showing: those of every account, and any other that binds now."""
    return [name for name in LIMITED if name in ("pending", "stored") or name == pulse.lacking]


def why_full(counts: Counts, pulse: Pulse) -> str:
    """Return what the limit that binds is full of."""
    name = pulse.lacking
    held, others = getattr(ours(counts), name), getattr(pulse.foreign, name)
    limit = getattr(pulse.limits, name)
    text = f"{amount(name, held + others)}/{amount(name, limit)} {PLACES[name]}"
    if others:
        text += f" ({amount(name, others)} of other clients)"
    if pulse.refusal:
        return f"the service refuses more: {pulse.refusal} ({text} as far as is known)"
    if name == "pending" and held + others < limit:
        text += "; the rest is kept free for other clients"
    return text
