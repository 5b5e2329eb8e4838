"""What goes wrong between batcher and the service: rates drawn for the night, and outages."""

from collections import Counter
from dataclasses import astuple, fields, replace

from batcher.clock import Dice
from batcher.emulator.faults import Fault, FaultPlan, FaultSpec, Rates, Trouble
from batcher.emulator.tally import Call
from batcher.service.simulated import Pace
from tests.simulation.story import Story
from tests.simulation.world import World

BURST_MS = (5_000, 5_000, 30_000, 240_000)
LATE_MS = 45_000  #: audio that shows up later than a minute after its upload failed is what nobody waits for
MOST = 0.6  #: of the calls of one verb, however unlucky the draw


class Weather:
    """A plan of faults (see `batcher.emulator.faults.Plan`) that ends with the night's turmoil."""

    def __init__(self, story: Story, dice: Dice, world: World, horizon: float) -> None:
        self.calls: Counter[float] = Counter()  #: of each outage, by when it began
        self.first_answers: dict[float, float] = {}  #: of each outage by its end: when the next listing was answered
        self.calm = False
        self._world = world
        self._latest_ms = story.settle_s * 800
        self._plan = FaultPlan(_spec(story, dice), dice, world)
        self._outages = _outages(dice, horizon) if "outage" in story.kinds else []
        self._refuses = dice.stream("outage.kind").random() < 0.5

    def decide(self, verb: Call) -> Fault | None:
        """Return what goes wrong with the next call of `verb`; None: nothing."""
        if self.calm:
            return None
        outage = self.outage()
        if outage is None:
            return self._later(verb, self._plan.decide(verb))
        self.calls[outage[0]] += 1
        return Fault(Trouble.REFUSED) if self._refuses else Fault(Trouble.LOST_BEFORE)

    def _later(self, verb: Call, fault: Fault | None) -> Fault | None:
        """Let what is transcribed show up late in lists, but before anybody may take it for absent."""
        if fault is None or fault.trouble is not Trouble.LATE or verb is not Call.SUBMIT:
            return fault
        return replace(fault, ms=fault.ms * self._latest_ms // self._plan.spec.late_ms)

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
    chance = dice.stream("weather")
    kinds = ("lost", "late", "cut", "slow", "bursts", "lists", "backwards")
    amount = {kind: 10 ** chance.uniform(-2.5, -0.7) for kind in kinds}
    burst_ms, delay_ms, stale_ms = chance.choice(BURST_MS), chance.choice((2_000, 20_000, 90_000)), 10_000
    amount = {kind: rate if kind in story.kinds else 0.0 for kind, rate in amount.items()}
    burst = amount["bursts"] / (4 if burst_ms < 10_000 else 40)
    rates = Rates(
        lost_before=amount["lost"],
        lost_after=amount["lost"],
        late=amount["late"] / 2,
        cut=amount["cut"],
        delayed=amount["slow"],
        unavailable=burst,
        internal=burst,
        deadline=burst,
        failing=amount["lists"],
        stale=amount["lists"],
        backwards=amount["backwards"],
    )
    by_verb = {verb: _scaled(rates, chance.choice((0.0, 1.0, 1.0, 3.0))) for verb in Call}
    return FaultSpec(rates, by_verb, burst_ms, delay_ms, stale_ms, min(LATE_MS, story.settle_s * 250))


def _scaled(rates: Rates, factor: float) -> Rates:
    """Return rates that many times as high, but so that some calls still succeed."""
    total = factor * sum(astuple(rates))
    factor *= min(1.0, MOST / total) if total else 1.0
    return replace(rates, **{each.name: factor * getattr(rates, each.name) for each in fields(Rates)})


def draw_pace(dice: Dice) -> Pace:
    """Draw how long calls take tonight."""
    chance = dice.stream("pace")
    return Pace(0.01, chance.choice((0.05, 0.2, 0.2, 2.0, 8.0)), chance.choice((100_000.0, 1_000_000.0, 10_000_000.0)))
