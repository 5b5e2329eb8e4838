"""The machine as data: what must be true of the table of transitions, whatever is added to it."""

import re
import sqlite3
from collections.abc import Iterable
from itertools import product

import pytest

from batcher.states import (
    FACTS,
    FINAL_STATES,
    HELD_STATES,
    NEXT,
    PENDING_STATES,
    TRANSITIONS,
    Event,
    State,
    accepts,
    diagram,
    public_names,
)
from batcher.store.migrate import migrate

PUBLIC = {
    "waiting", "uploading", "submitted", "completed", "stored", "done", "uncertain", "failing",
    "failed", "cancelled", "skipped",
}  # fmt: skip


def _closure(start: Iterable[State], edges: Iterable[tuple[State, State]]) -> set[State]:
    """Return everything that can be reached along `edges`."""
    reached, edges = set(start), list(edges)
    while more := {target for source, target in edges if source in reached} - reached:
        reached |= more
    return reached


def test_no_event_has_two_meanings_in_one_state() -> None:
    """A duplicate (source, event) would silently lose the first of its transitions."""
    assert len(NEXT) == len(TRANSITIONS)


def test_every_state_can_be_reached() -> None:
    """A state that no path leads to would be dead code."""
    assert _closure([State.NEW], ((source, target) for source, _, target in TRANSITIONS)) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_can_end(state: State) -> None:
    """No job is caught for ever: from everywhere a way leads to an end."""
    assert _closure([state], ((source, target) for source, _, target in TRANSITIONS)) & FINAL_STATES


def test_every_event_happens_somewhere() -> None:
    """An event without a transition could never be fired."""
    assert {event for _, event, _ in TRANSITIONS} == set(Event)


def test_an_end_is_left_only_on_a_new_wish() -> None:
    """What ended stays so until a person, a changed recording or a missing output wants more, or it shows up late."""
    leaving = {event for source, event, _ in TRANSITIONS if source in FINAL_STATES}
    assert leaving == {Event.RETRY, Event.CHANGED, Event.RENDER, Event.ADOPTED}


def test_a_finished_job_is_not_sent_again_by_retry() -> None:
    """A transcript that is there is never paid for again."""
    assert not accepts(State.DONE, Event.RETRY)


def test_users_see_the_promised_names_only() -> None:
    """The public names are those of the documentation, all of them."""
    assert set(public_names()) == PUBLIC
    assert len(public_names()) == len(PUBLIC)


def test_facts_are_known_of_every_state() -> None:
    """Quota, display and dispatch look states up."""
    assert set(FACTS) == set(State)


def test_what_is_pending_is_also_stored_at_the_service() -> None:
    """The service counts a pending file against both limits."""
    assert PENDING_STATES < HELD_STATES


def test_no_end_holds_anything_at_the_service() -> None:
    """Nothing is leaked: an end is reached only after the service is clear."""
    assert not HELD_STATES & FINAL_STATES


def test_sealed_audio_is_never_sent_again_unless_a_refusal_or_absence_is_proven() -> None:
    """Out of the states in which the service may have accepted, only proofs lead back to waiting."""
    at_risk = {State.SEALED, State.UNCERTAIN, State.SUBMITTED, State.COMPLETED, State.STORED, State.CANCELLING}
    back = {(s, e) for s, e, t in TRANSITIONS if s in at_risk and t in (State.WAITING, State.NEW, State.UPLOADING)}
    assert back == {(State.SEALED, Event.REFUSED), (State.UNCERTAIN, Event.ABSENT)}


AT_THE_SERVICE = {State.SUBMITTED, State.COMPLETED, State.STORED}
SEALED_ONCE = {State.SEALED, State.UNCERTAIN} | AT_THE_SERVICE
NEEDS = {
    "reference": {State.UPLOADING} | SEALED_ONCE,
    "digest": SEALED_ONCE,
    "remote": AT_THE_SERVICE,
    "transcript": {State.STORED, State.RENDERING, State.DONE},
}


def test_the_schema_knows_exactly_these_states_and_what_each_needs() -> None:
    """No mistake of ours can leave a job in a state without what that state promises."""
    conn = sqlite3.connect(":memory:", isolation_level=None)
    migrate(conn)
    facts = {"twin_of": 1, "reference": "r", "digest": b"d", "remote": "i", "transcript": 1}
    for state, there in product([*State, "elsewhere"], product([False, True], repeat=len(facts))):
        row = {name: value if known else None for (name, value), known in zip(facts.items(), there, strict=True)}
        whole = all(row[name] is not None for name, states in NEEDS.items() if state in states)
        right = state in list(State) and whole and (row["twin_of"] is not None) == (state == State.TWIN)
        assert _takes(conn, {"state": state} | row) == right, (state, row)
    conn.close()


def _takes(conn: sqlite3.Connection, row: dict[str, object]) -> bool:
    """Tell whether the table takes a job with these columns."""
    known = {"path": b"/a", "output": "a", "output_key": "a", "size": 1, "mtime_ns": 1, "options": "o", "since": 1}
    whole = known | {"created": 1} | row
    conn.execute("SAVEPOINT job")
    try:
        conn.execute(f"INSERT INTO job ({', '.join(whole)}) VALUES ({', '.join('?' * len(whole))})", [*whole.values()])
    except sqlite3.IntegrityError:
        return False
    finally:
        conn.execute("ROLLBACK TO job")
        conn.execute("RELEASE job")
    return True


def test_the_diagram_shows_every_public_name() -> None:
    """The picture in the README is the machine."""
    assert set(re.findall(r"\b(?!stateDiagram)[a-z]+(?= -->)", diagram())) == PUBLIC
