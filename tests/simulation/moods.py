"""The recognizer of these nights: it echoes, but some recordings fail there, each in its own way."""

import hashlib

from batcher.emulator.objects import Audio, Config, Failure, Report
from batcher.emulator.recognizers import UNDECODABLE, Echo
from tests.simulation.world import FLAC

ONCE, ALWAYS = b"once", b"ever"  #: an internal error of the service, the first time or every time
ODD, ODDER = b"oddA", b"oddB"  #: it cannot be decoded as it is; not as FLAC either
NEVER = b"nope"  #: it fails for a reason that nothing can mend
MARKS = (ONCE, ALWAYS, ODD, ODDER, NEVER)  #: how such a recording begins

INTERNAL = "Internal error."
_INTERNAL = Failure(INTERNAL, "internal_error")
_UNDECODABLE = Failure(UNDECODABLE)
_HOPELESS = Failure("The output is too long.", "transcription_output_too_long")
_FAILURES = {ONCE: _INTERNAL, ALWAYS: _INTERNAL, ODD: _UNDECODABLE, ODDER: _UNDECODABLE, NEVER: _HOPELESS}


class Moods:
    """Fails the recordings that are marked."""

    def __init__(self) -> None:
        self._failures: dict[bytes, Failure] = {}
        self._once: set[bytes] = set()
        self._known: set[bytes] = set()
        self._echo = Echo()

    def learn(self, content: bytes) -> None:
        """Take note of a recording that may be sent."""
        mark = content[:4]
        digest = hashlib.sha256(content).digest()
        if mark not in _FAILURES or digest in self._known:
            return
        self._known.add(digest)
        self._failures[digest] = _FAILURES[mark]
        if mark == ONCE:
            self._once.add(digest)
        if mark == ODDER:
            self._failures[hashlib.sha256(FLAC + content).digest()] = _UNDECODABLE

    def wants_audio(self, config: Config) -> bool:
        """Digests are enough."""
        return False

    def recognise(self, audio: Audio, config: Config, report: Report) -> None:
        """Report at once."""
        failure = self._failures.get(audio.digest)
        if audio.digest in self._once:
            self._once.discard(audio.digest)
            del self._failures[audio.digest]
        if failure is None:
            self._echo.recognise(audio, config, report)
        else:
            report(failure)


def may_fail(content: bytes, api: str) -> bool:
    """Tell whether the service's verdict on a recording may in the end be that it failed."""
    mark = content[:4]
    return mark in (ALWAYS, ODDER, NEVER) or (mark == ODD and api == "grpc")
