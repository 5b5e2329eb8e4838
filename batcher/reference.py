"""The label sent with every attempt, by which an upload whose answer was lost is found again.

``batcher1.<batch>.<job>.<attempt>.<fingerprint>``: opaque (no file names), at most 256 characters (the limit
of `reference_name` and `client_reference_id`), and committed in the table before anything is sent.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

_FORM = re.compile(r"batcher1\.([0-9a-f]{16})\.([1-9][0-9]{0,17})\.([1-9][0-9]{0,8})\.([0-9a-f]{12})")
#: Every look shows again what the one before showed, and each of it is parsed several times. Many more than an account
#: holds, or all would be forgotten before they come again; each takes half a kilobyte.
_REMEMBERED = 32_768


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference: which attempt of which job of which batch, and of what content and options."""

    batch: str
    job: int
    attempt: int
    fingerprint: str

    def __str__(self) -> str:
        return f"batcher1.{self.batch}.{self.job}.{self.attempt}.{self.fingerprint}"


@lru_cache(maxsize=_REMEMBERED)
def parse(text: str) -> Reference | None:
    """Return the reference that `text` spells, or None when some other client wrote it."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    batch, job, attempt, fingerprint = match.groups()
    return Reference(batch, int(job), int(attempt), fingerprint)


def fingerprint(path: bytes, size: int, mtime_ns: int, options: str) -> str:
    """Return 48 bits of what is known of a recording and its options before it is sent.

    It guards the adoption: an object that carries our batch's reference but another fingerprint was made
    from something else (a restored table, say) and is never taken for this job's.
    """
    known = b"\0".join([path, str(size).encode(), str(mtime_ns).encode(), options.encode()])
    return blake2b(known, digest_size=6).hexdigest()
