"""What goes wrong between batcher and the service: rates drawn for the night, and outages."""

from collections import Counter
from dataclasses import astuple, fields, replace

from batcher.clock import Dice
from batcher.emulator.faults import Fault, FaultPlan, FaultSpec, Rates, Trouble
from batcher.emulator.tally import Call
from batcher.service.simulated import Pace
from tests.simulation.looks import apart_ms
from tests.simulation.story import Story
from tests.simulation.world import World

BURST_MS = (5_000, 5_000, 30_000, 240_000)
LATE_MS = 45_000  #: audio that shows up later than a minute after its upload failed is what nobody waits for
STALE_MS = 10_000  #: how old at most what a list shows may be
OVERDUE = 3  #: what nobody waits for shows up after at most so many times the settle time
MOST = 0.6  #: of the calls of one verb, however unlucky the draw


class Weather:
    """A plan of faults (see `batcher.emulator.faults.Plan`) that ends with the night's turmoil."""

    def __init__(self, story: Story, dice: Dice, world: World, horizon: float) -> None:
        self.calls: Counter[float] = Counter()  #: of each outage, by when it began
        self.first_answers: dict[float, float] = {}  #: of each outage by its end: when the next listing was answered
        self.calm = False
        self.almost_done = False  #: no more than a few recordings have not ended
        self._recalled = 0  #: when something ended that was deleted since, UTC milliseconds
        self._hindsight, self._straggler = "hindsight" in story.kinds, "straggler" in story.kinds
        self._doubt = "doubt" in story.kinds
        self._chance = dice.stream("weather later")
        self._world = world
        self._settle_ms = story.settle_s * 1000
        self._overdue, self._torsos = "overdue" in story.kinds, "torsos" in story.kinds
        self._horizon = horizon
        self._plan = FaultPlan(_spec(story, dice), dice, world)
        self._outages = _outages(dice, horizon) if "outage" in story.kinds else []
        # What is cut off from the service leaves no torsos there.
        self._refuses = dice.stream("outage.kind").random() < 0.5 or self._torsos

    def decide(self, verb: Call) -> Fault | None:
        """Return what goes wrong with the next call of `verb`; None: nothing."""
        if self.calm:
            return None
        outage = self.outage()
        if outage is None:
            return self._otherwise(verb, self._plan.decide(verb)) or self._later_kinds(verb)
        self.calls[outage[0]] += 1
        return Fault(Trouble.REFUSED) if self._refuses else Fault(Trouble.LOST_BEFORE)

    def _later_kinds(self, verb: Call) -> Fault | None:
        """Return what goes wrong only at the worst moment: a list from before something ended, a late last upload."""
        age = self._world.now() - self._recalled + 1
        if self._hindsight and verb in (Call.SURVEY, Call.FILES) and age < STALE_MS and self._chance.random() < 0.7:
            return Fault(Trouble.STALE, ms=age)
        if self._straggler and verb is Call.UPLOAD and self.almost_done and self._chance.random() < 0.4:
            return Fault(Trouble.LATE, ms=int(self._chance.uniform(0.5, 0.95) * apart_ms(self._settle_ms)))
        if self._doubt and verb is Call.SUBMIT and self._chance.random() < 0.05:
            return Fault(Trouble.LATE, ms=int(self._chance.uniform(0.3, 0.8) * self._settle_ms))
        return None

    def recall(self, ended: int) -> None:
        """Take note that something was deleted that had ended then: lists may go on showing it as it was before."""
        self._recalled = ended

    def _otherwise(self, verb: Call, fault: Fault | None) -> Fault | None:
        """Return a fault as these nights have it: recordings are short here, and settle times differ."""
        if fault is not None and fault.trouble is Trouble.LATE:
            return self._later(verb, fault)
        if fault is not None and fault.trouble is Trouble.CUT and self._torsos:
            return replace(fault, cut_after=fault.cut_after // 4)  # half of them before any audio was sent
        return fault

    def _later(self, verb: Call, fault: Fault) -> Fault:
        """Let what is transcribed show up late in lists, but before anybody may take it for absent.

        In some nights most of it shows up only when everybody takes it for absent, and bare audio likewise.
        """
        share = fault.ms / self._plan.spec.late_ms
        if self._overdue and share > 0.2:
            return replace(fault, ms=int((1 + share * (OVERDUE - 1)) * self._settle_ms))
        return replace(fault, ms=int(share * 0.8 * self._settle_ms)) if verb is Call.SUBMIT else fault

    def strike(self, seconds: float) -> None:
        """Let an outage begin now."""
        now = self._world.read()
        self._outages.append((now, min(self._horizon, now + seconds)))

    def outage(self) -> tuple[float, float] | None:
        """Return the outage that there is now, as when it began and ends."""
        now = self._world.read()
        return None if self.calm else next((each for each in self._outages if each[0] <= now < each[1]), None)

    def ended(self) -> list[tuple[float, float]]:
        """Return the outages that are over."""
        return [each for each in self._outages if each[1] <= self._world.read()]


def _outages(dice: Dice, horizon: float) -> list[tuple[float, float]]:
    """Return one or two outages: the one of minutes, the other of up to hours."""
    chance = dice.stream("outage")
    first = chance.uniform(1, 200)
    outages = [(first, first + chance.uniform(30, 900))]
    if chance.random() < 0.5:
        begin = outages[0][1] + chance.uniform(10, 1_000)
        outages.append((begin, min(horizon, begin + chance.uniform(600, 10_000))))
    return outages


def _spec(story: Story, dice: Dice) -> FaultSpec:
    """Draw the rates: how bad each kind is tonight, and which calls it meets more than others."""
    chance, apart = dice.stream("weather"), dice.stream("weather apart")
    kinds = ("lost", "late", "cut", "slow", "bursts", "lists", "backwards")
    amount = {kind: 10 ** chance.uniform(-2.5, -0.7) for kind in kinds}
    amount |= {kind: 10 ** apart.uniform(-1.5, -0.7) for kind in ("overdue", "torsos")}  # few nights, so much of it
    burst_ms, delay_ms = chance.choice(BURST_MS), chance.choice((2_000, 20_000, 90_000))
    amount = {kind: rate if kind in story.kinds else 0.0 for kind, rate in amount.items()}
    burst = amount["bursts"] / (4 if burst_ms < 10_000 else 40)
    rates = Rates(
        lost_before=amount["lost"],
        lost_after=amount["lost"],
        late=max(amount["late"], amount["overdue"]) / 2,
        cut=max(amount["cut"], amount["torsos"]),
        delayed=amount["slow"],
        unavailable=burst,
        internal=burst,
        deadline=burst,
        failing=amount["lists"],
        stale=amount["lists"],
        backwards=amount["backwards"],
    )
    by_verb = {verb: _scaled(rates, chance.choice((0.0, 1.0, 1.0, 3.0))) for verb in Call}
    return FaultSpec(rates, by_verb, burst_ms, delay_ms, STALE_MS, min(LATE_MS, story.settle_s * 250))


def _scaled(rates: Rates, factor: float) -> Rates:
    """Return rates that many times as high, but so that some calls still succeed."""
    total = factor * sum(astuple(rates))
    factor *= min(1.0, MOST / total) if total else 1.0
    return replace(rates, **{each.name: factor * getattr(rates, each.name) for each in fields(Rates)})


def draw_pace(dice: Dice) -> Pace:
    """Draw how long calls take tonight."""
    chance = dice.stream("pace")
    return Pace(0.01, chance.choice((0.05, 0.2, 0.2, 2.0, 8.0)), chance.choice((100_000.0, 1_000_000.0, 10_000_000.0)))
