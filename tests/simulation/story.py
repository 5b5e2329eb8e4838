"""What a night is made of: everything that may go wrong in it has a name, and can be left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from batcher.model import Limits

#: What may go wrong, and how likely a night has it.
KINDS: Mapping[str, float] = {
    "lost": 0.5,  # answers, before or after their effect
    "late": 0.3,  # as lost after, and in no list for a while
    "cut": 0.3,  # uploads and results in the middle
    "slow": 0.4,  # answers that take up to a minute and a half
    "bursts": 0.4,  # of errors
    "lists": 0.4,  # that fail, are old, or come late
    "backwards": 0.3,  # completed, then at work again
    "outage": 0.08,  # of up to hours
    "quota": 0.2,  # lowered and raised, and batcher is told
    "quota unannounced": 0.15,  # and it is not told
    "strangers": 0.3,  # other clients of the account
    "siblings": 0.2,  # other projects, which no list shows (REST)
    "retention": 0.06,  # objects vanish
    "budget": 0.3,  # of requests (REST)
    "full": 0.15,  # disk, for the table and the outputs, at any write
    "files": 0.25,  # change, vanish, lose permission, arrive
    "failures": 0.4,  # of the service, by type
    "clock": 0.15,  # set between two lives
    "suspend": 0.15,  # of the machine
    "stops": 0.3,  # Ctrl-C once and twice
    "requests": 0.2,  # `retry` and `cancel` while a run is active
    "money": 0.05,  # used up, and topped up
}
#: The same, drawn apart so that older seeds keep their nights.
LATER_KINDS: Mapping[str, float] = {
    "torsos": 0.25,  # what was cut short stays at the service, without its end (gRPC)
    "overdue": 0.06,  # some of what is late shows up only after the settle time: the written exception
    "stranded": 0.1,  # killed within a minute after the service went away for up to hours
    "unguarded": 0.25,  # the service only counts, and refuses nothing for a quota
    "twins": 0.1,  # recordings of one content: copied, moved, put in each other's place, changed without a trace
    "hindsight": 0.1,  # lists that show what was deleted as it was before it had ended
    "straggler": 0.2,  # audio whose upload was lost when almost all was done shows up late (REST)
    "doubt": 0.1,  # killed when an answer was just lost, and the clock is set by about the settle time
    "torn": 0.18,  # lists of several pages that lack something (REST)
    "gap": 0.1,  # something is in no list for a moment, and again after an outage
    "sluggish": 0.1,  # a disk that takes its time for each commit
    "narrow": 0.08,  # an account with room for one
    "plain": 0.08,  # almost nothing goes wrong, so that nothing is excused
    "longest": 0.2,  # the longest recordings go first
    "shards": 0.4,  # two batchers in one account are shards of one input
}
#: And these, each drawn by itself.
RARE_KINDS: Mapping[str, float] = {
    "restless": 0.06,  # another client comes and goes by one, as often as batcher looks; one place is always free
}
REST_ONLY = ("siblings", "budget", "straggler", "torn")
GRPC_ONLY = ("torsos",)
#: What may go wrong without a call that fails, an object that is deleted twice, or a refusal.
HARMLESS = ("files", "failures", "twins", "requests", "sluggish", "narrow")
#: What changes lists behind batcher's back: a page that is lost would not always show in the service's count.
BLURRING = ("strangers", "restless", "retention", "late", "overdue", "straggler", "hindsight", "lists")
#: What takes the one place that a restless client leaves free.
CROWDING = ("narrow", "straggler", "strangers", "siblings", "quota", "quota unannounced")
REST_SHARE = 0.4  #: of the nights
SHARED = 0.2  #: of the nights two batchers share the account


FEW = 20  #: places; so many may be filled by what shows up too late


@dataclass(frozen=True, slots=True)
class Story:
    """One night. Everything else about it is drawn from the seed, each thing from a stream of its own."""

    seed: int
    recordings: int = 60
    limits: Limits = field(default_factory=lambda: Limits(pending=20, stored=40))
    kinds: tuple[str, ...] = ()
    ends: int = 0  #: how often the process is killed or stopped
    api: str = "grpc"
    settle_s: int = 300
    second: int = 0  #: recordings of a second batch in the same account; 0: there is none

    def without(self, kind: str) -> "Story":
        """Return the same night without one kind of trouble."""
        return replace(self, kinds=tuple(each for each in self.kinds if each != kind))


def random_story(seed: int, *, large: bool = False, shared: bool = False, wanted: Sequence[str] = ()) -> Story:
    """Draw what a night is made of, with the `wanted` kinds. Large ones have over a hundred recordings on average."""
    chance = Random(f"{seed}:story")
    most = 215 if large else 70
    recordings, pending = chance.randrange(10, most), chance.choice([3, 8, 20, 100])
    limits = Limits(pending, pending * chance.choice([1, 2, 5]))
    kinds = [kind for kind, share in KINDS.items() if chance.random() < share]
    ends, settle = chance.randrange(2, 9) if large else chance.randrange(7), chance.choice([120, 120, 300, 900])
    second = chance.randrange(5, most // 2) if chance.random() < SHARED or shared else 0
    api = "rest" if chance.random() < REST_SHARE else "grpc"
    apart = Random(f"{seed}:story apart")
    kinds += [kind for kind, share in LATER_KINDS.items() if apart.random() < share]
    kinds += [kind for kind, share in RARE_KINDS.items() if Random(f"{seed}:story {kind}").random() < share]
    kinds += [kind for kind in wanted if kind not in kinds]
    api = "rest" if set(REST_ONLY) & set(wanted) else "grpc" if set(GRPC_ONLY) & set(wanted) else api
    kinds = [kind for kind in kinds if kind not in (GRPC_ONLY if api == "rest" else REST_ONLY)]
    if api == "rest":
        files, size = chance.choice([None, pending, 2 * pending]), chance.choice([None, 2_000_000, 10_000_000])
        limits = replace(limits, files=files, bytes=size)
    story = Story(seed, max(5, recordings - second // 2), limits, tuple(kinds), ends, api, settle, second)
    return _fitted(story, apart)


def _fitted(story: Story, chance: Random) -> Story:
    """Return a night that fits the rarer of its kinds."""
    if "restless" in story.kinds:
        limits = replace(story.limits, pending=max(8, story.limits.pending), stored=max(16, story.limits.stored))
        kinds = tuple(kind for kind in story.kinds if kind not in CROWDING)
        story = replace(story, second=0, limits=limits, kinds=kinds)
    if "overdue" in story.kinds and min(story.limits.pending, story.limits.files or FEW) < FEW:
        story = replace(story, second=0)  # what shows up after the end of one batch would take another's last place
    if "plain" in story.kinds:
        story = replace(story, kinds=("plain", *(kind for kind in story.kinds if kind in HARMLESS)), ends=0)
    if "narrow" in story.kinds:
        files = None if story.limits.files is None else chance.choice([1, 2])
        limits = replace(story.limits, pending=1, stored=chance.choice([1, 1, 2]), files=files)
        story = replace(story, recordings=min(story.recordings, 15), second=min(story.second, 5), limits=limits)
        story = story.without("shards")  # of two shards with one place one waits for the end of the other
    if "straggler" in story.kinds:  # one after the other, so that there is an upload when almost all is done
        limits = replace(story.limits, pending=1)
        story = replace(story, recordings=min(story.recordings, 15), second=min(story.second, 5), limits=limits)
        story = story.without("shards")
    if "hindsight" in story.kinds:  # what matters is what has failed once, and waits in doubt about the room
        story = replace(story, kinds=tuple(dict.fromkeys((*story.kinds, "failures", "bursts"))))
    if "torn" in story.kinds:
        # Many at once, so that lists have pages; and they are soon old enough to be taken for gone.
        limits = replace(story.limits, pending=20, stored=40, files=None)
        kinds = tuple(kind for kind in story.kinds if kind not in BLURRING)
        story = replace(story, recordings=60, limits=limits, kinds=kinds, settle_s=120)
    return story
