"""Shards: one input spread over machines, each of which takes its part and leaves the others theirs."""

import re
from dataclasses import dataclass
from hashlib import blake2b

MOST = 100_000  #: parts; more is a slip
_WORDS = "must be like 2/4: which part, counted from 1, and of how many"


@dataclass(frozen=True, slots=True)
class Shard:
    """One of so many parts of the input. The parts are the same wherever the input is mounted, and at any time."""

    part: int  #: from 1
    parts: int

    def __str__(self) -> str:
        return f"{self.part}/{self.parts}"

    @property
    def tag(self) -> str:
        """Return its name as a part of file names."""
        return f"{self.part}-of-{self.parts}"

    def holds(self, name: bytes) -> bool:
        """Tell whether a recording is in this part, by its path below its input or by its URL."""
        digest = blake2b(name, digest_size=8, person=b"batcher.shard").digest()
        return int.from_bytes(digest, "big") % self.parts == self.part - 1


def parse_shard(text: str) -> Shard | None:
    """Read ``2/4``; nothing is no shard. Raises ValueError with words for a person."""
    if not text:
        return None
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    if match is None:
        raise ValueError(_WORDS)
    shard = Shard(int(match[1]), int(match[2]))
    if shard.part == 0 < shard.parts:
        raise ValueError(f"{_WORDS}; to an index that begins with 0 add 1")
    if not 1 <= shard.part <= shard.parts <= MOST:
        raise ValueError(f"{_WORDS}; there is no part {shard.part} of {shard.parts}")
    return shard


def check_shard(value: object) -> object:
    """Return a setting in its usual spelling when `parse_shard` can read it. Raises ValueError."""
    return str(parse_shard(value) or "") if isinstance(value, str) else value


def parse_tag(text: str) -> Shard | None:
    """Return the shard of a `tag`; None for anything else."""
    match = re.fullmatch(r"(\d{1,6})-of-(\d{1,6})", text)
    return Shard(int(match[1]), int(match[2])) if match else None
