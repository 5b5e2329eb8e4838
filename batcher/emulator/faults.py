"""What goes wrong on the way, drawn from a seed: the same seed and the same calls give the same faults.

A face asks the plan at the start of each call, then walks through the call's stages with what it was given:
`opening`, the bytes of an upload (`passing`, `passed`), `before_effect`, the effect in the core, `answering`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Protocol

from batcher.clock import Clock, Dice
from batcher.emulator.account import Account
from batcher.emulator.objects import Refusal
from batcher.emulator.tally import Call
from batcher.errors import UsageError
from batcher.model import RemoteObject, RemoteStatus


class Trouble(StrEnum):
    """What can happen to one call."""

    LOST_BEFORE = "lost-before"  #: all was sent, nothing happened, no answer
    LOST_AFTER = "lost-after"  #: it happened, but the answer is lost
    LATE = "late"  #: as lost-after, and what an upload made shows up in lists only later
    CUT = "cut"  #: the connection dies in the middle of an upload or of a result
    DELAYED = "delayed"  #: the answer takes its time
    REFUSED = "refused"  #: nothing happened, the answer is an error code
    STALE = "stale"  #: a list as it was some time ago
    BACKWARDS = "backwards"  #: a list in which completed files are being transcribed again


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call."""

    trouble: Trouble
    code: str = "UNAVAILABLE"  #: gRPC status name the client sees
    ms: int = 0  #: the delay, the lateness or the age, by the trouble
    cut_after: int = 0  #: CUT: how many chunks or messages still pass


@dataclass(frozen=True, slots=True)
class Rates:
    """How likely each thing is for one call, 0 to 1. A burst refuses everything of its verb while it lasts."""

    lost_before: float = 0.0
    lost_after: float = 0.0
    late: float = 0.0
    cut: float = 0.0
    delayed: float = 0.0
    unavailable: float = 0.0  #: chance that a burst of UNAVAILABLE begins
    internal: float = 0.0  #: chance that a burst of INTERNAL begins
    deadline: float = 0.0  #: chance that a burst of DEADLINE_EXCEEDED begins
    failing: float = 0.0  #: lists only: INTERNAL, once
    stale: float = 0.0
    backwards: float = 0.0


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """All rates: `default` for every verb, `by_verb` for single ones, and how long things last (ms)."""

    default: Rates = Rates()
    by_verb: Mapping[Call, Rates] = field(default_factory=dict)
    burst_ms: int = 5_000
    delay_ms: int = 2_000
    stale_ms: int = 10_000
    late_ms: int = 30_000

    def rates(self, verb: Call) -> Rates:
        """Return the rates that hold for `verb`."""
        return self.by_verb.get(verb, self.default)


_SOME = Rates(
    lost_before=0.01, lost_after=0.01, late=0.005, cut=0.01, delayed=0.03, unavailable=0.005, internal=0.003,
    deadline=0.002, failing=0.01, stale=0.02, backwards=0.01,
)  # fmt: skip
_MANY = Rates(
    lost_before=0.05, lost_after=0.05, late=0.02, cut=0.05, delayed=0.1, unavailable=0.02, internal=0.01,
    deadline=0.01, failing=0.05, stale=0.1, backwards=0.05,
)  # fmt: skip
PRESETS = {"none": FaultSpec(), "some": FaultSpec(_SOME), "many": FaultSpec(_MANY)}

_ALIASES = {"lost": ("lost_before", "lost_after")}
_RATES = tuple(f.name for f in fields(Rates))
_TIMES = ("burst_ms", "delay_ms", "stale_ms", "late_ms")
_BURSTS = {"unavailable": "UNAVAILABLE", "internal": "INTERNAL", "deadline": "DEADLINE_EXCEEDED"}
_LOST_CODES = ("UNAVAILABLE", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL")


def parse(text: str) -> FaultSpec:
    """Read `none`, `some`, `many`, or a list like ``lost=0.05,submit.unavailable=0.02,burst-ms=3000``.

    Raises:
        UsageError: a word is not known or a number is out of its range.
    """
    if text in PRESETS:
        return PRESETS[text]
    spec = FaultSpec()
    for item in filter(None, (item.strip() for item in text.split(","))):
        spec = _with(spec, item)
    return spec


def _with(spec: FaultSpec, item: str) -> FaultSpec:
    name, sign, value = item.partition("=")
    verb, dot, rate = name.rpartition(".")
    rate = rate.replace("-", "_")
    if not sign or not (rate in _RATES or rate in _ALIASES or (rate in _TIMES and not dot)):
        known = ", ".join([*PRESETS, *_ALIASES, *_RATES, *_TIMES]).replace("_", "-")
        raise UsageError(f"--faults: {item!r} is not name=number; the names are: {known}")
    if rate in _TIMES:
        lasting = {name: getattr(spec, name) for name in _TIMES}
        lasting[rate] = int(_number(item, value, most=86_400_000))
        return FaultSpec(spec.default, spec.by_verb, **lasting)
    changed = dict.fromkeys(_ALIASES.get(rate, (rate,)), _number(item, value, most=1))
    if not dot:
        by_verb = {call: replace(rates, **changed) for call, rates in spec.by_verb.items()}
        return replace(spec, default=replace(spec.default, **changed), by_verb=by_verb)
    if verb not in list(Call):
        raise UsageError(f"--faults: {verb!r} is not one of {', '.join(Call)}")
    call = Call(verb)
    return replace(spec, by_verb={**spec.by_verb, call: replace(spec.rates(call), **changed)})


def _number(item: str, value: str, *, most: float) -> float:
    try:
        number = float(value)
    except ValueError as error:
        raise UsageError(f"--faults: {item!r}: {value!r} is not a number") from error
    if not 0 <= number <= most:
        raise UsageError(f"--faults: {item!r}: must be from 0 to {most:g}")
    return number


class Plan(Protocol):
    """Decides for each call what goes wrong with it."""

    def decide(self, verb: Call) -> Fault | None:
        """Return what goes wrong with the next call of `verb`; None: nothing."""


class FaultPlan:
    """Draws what goes wrong from a seed."""

    def __init__(self, spec: FaultSpec, dice: Dice, clock: Clock) -> None:
        self.spec = spec
        self._dice = dice
        self._clock = clock
        self._bursts: dict[Call, tuple[int, str]] = {}

    def decide(self, verb: Call) -> Fault | None:
        """Return what goes wrong with the next call of `verb`; None: nothing."""
        now = self._clock.now()
        until, code = self._bursts.get(verb, (0, ""))
        if now < until:
            return Fault(Trouble.REFUSED, code)
        rates, random = self.spec.rates(verb), self._dice.stream(f"fault.{verb}")
        # One number for the choice and one for the amount at every call, so that rates do not shift each other.
        choice, amount = random.random(), random.random()
        for name in _RATES:
            chance = getattr(rates, name) if _applies(name, verb) else 0.0
            if choice < chance:
                return self._fault(name, verb, amount, now)
            choice -= chance
        return None

    def _fault(self, name: str, verb: Call, amount: float, now: int) -> Fault:
        if name in _BURSTS:
            self._bursts[verb] = (now + round(amount * self.spec.burst_ms), _BURSTS[name])
            return Fault(Trouble.REFUSED, _BURSTS[name])
        if name == "failing":
            return Fault(Trouble.REFUSED, "INTERNAL")
        trouble = Trouble(name.replace("_", "-"))
        code = _LOST_CODES[int(amount * len(_LOST_CODES))]
        times = {Trouble.DELAYED: "delay_ms", Trouble.STALE: "stale_ms", Trouble.LATE: "late_ms"}
        ms = round(amount * getattr(self.spec, times[trouble])) if trouble in times else 0
        return Fault(trouble, "UNAVAILABLE" if trouble is Trouble.CUT else code, ms, cut_after=int(amount * 8))


def _applies(name: str, verb: Call) -> bool:
    if name in ("failing", "stale", "backwards"):
        return verb in (Call.SURVEY, Call.FILES)
    if name == "late":
        return verb in (Call.SUBMIT, Call.UPLOAD)
    return name != "cut" or verb in (Call.SUBMIT, Call.UPLOAD, Call.FETCH)


def opening(fault: Fault | None) -> None:
    """Refuse the call at once, if that is the fault."""
    if fault is not None and fault.trouble is Trouble.REFUSED:
        raise Refusal(fault.code, "The service refuses for the moment (injected).")


def passing(fault: Fault | None, count: int) -> None:
    """Cut the connection when `count` chunks or messages have passed, if that is the fault."""
    if fault is not None and fault.trouble is Trouble.CUT and count >= fault.cut_after:
        raise Refusal(fault.code, "The connection was cut (injected).")


def passed(fault: Fault | None) -> None:
    """Cut the connection at the very end: an upload or a result may be too short to be cut earlier."""
    if fault is not None and fault.trouble is Trouble.CUT:
        raise Refusal(fault.code, "The connection was cut (injected).")


def before_effect(fault: Fault | None) -> None:
    """Lose the call before it has any effect, if that is the fault."""
    if fault is not None and fault.trouble is Trouble.LOST_BEFORE:
        raise Refusal(fault.code, "The request was lost (injected).")


def survey(account: Account, fault: Fault | None) -> list[RemoteObject]:
    """Return the list of files: as it is, as it was, or with completed files at work again."""
    if fault is None or fault.trouble not in (Trouble.STALE, Trouble.BACKWARDS):
        return account.survey()
    if fault.trouble is Trouble.STALE:
        return account.survey(age_ms=fault.ms)
    return [
        seen._replace(status=RemoteStatus.PROCESSING) if seen.status is RemoteStatus.COMPLETED else seen
        for seen in account.survey()
    ]


def hidden_ms(fault: Fault | None) -> int:
    """Return for how long no list shows what the upload makes."""
    return fault.ms if fault is not None and fault.trouble is Trouble.LATE else 0


def delay_ms(fault: Fault | None) -> int:
    """Return how long the answer takes, once the effect is there."""
    return fault.ms if fault is not None and fault.trouble is Trouble.DELAYED else 0


def answering(fault: Fault | None) -> None:
    """Lose the answer, if that is the fault."""
    if fault is not None and fault.trouble in (Trouble.LOST_AFTER, Trouble.LATE):
        raise Refusal(fault.code, "The answer was lost (injected).")
