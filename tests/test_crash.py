"""A small part of `make crash`, and proof that its oracles notice what they are for."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from batcher.emulator.rest_account import RestAccount
from tests import test_rest_kills
from tests.crash import oracles, powercut
from tests.crash.__main__ import most_hits, progress, table, tasks
from tests.crash.starter import Starter, starter
from tests.crash.sweep import APIS, MOST_HITS, Killer, Report, Sweep, points, sweeps
from tests.crash.trial import Recipe, Trial, trial

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="kills are timed by a call of Linux")


@pytest.fixture(scope="module")
def starting() -> Iterator[Starter]:
    """Return a process that starts the command."""
    with starter() as started:
        yield started


@pytest.fixture(scope="module")
def ended(starting: Starter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Return a batch that was killed once and ran to its end."""
    with trial(Recipe("grpc"), tmp_path_factory.mktemp("trial"), starting) as batch:
        assert batch.run(point="deleted:1").killed
        assert oracles.after_kill(batch) == []
        batch.run()
        yield batch


def test_the_points_are_those_of_the_source() -> None:
    """A point that is added is swept from then on."""
    assert {"accepted", "before-commit", "migration-statement", "transcription-deleted"} <= set(points())
    assert set(test_rest_kills.POINTS) <= set(points())


@pytest.mark.parametrize(("api", "point"), [("grpc", "after-seal"), ("grpc", "rendered"), ("rest", "accepted")])
def test_a_batch_killed_twice_at_a_named_point_keeps_every_promise(starting: Starter, api: str, point: str) -> None:
    """The first time in its life, then in the recovery of a batch that was killed before."""
    killer, sweep = Killer(starting, seed=point), Sweep(point, api)
    killer.sweep(sweep, most=1)
    assert killer.report.swept[sweep] == 1
    assert killer.report.violations == []


def test_a_recovery_may_be_killed_too(starting: Starter) -> None:
    """A temporary output of the first run is swept by the second, which dies there; the third ends."""
    killer, sweep = Killer(starting, seed="recovery"), Sweep("temporary-swept", "grpc", recovery=True)
    killer.sweep(sweep, most=1)
    assert killer.report.swept[sweep] == 1
    assert killer.report.violations == []


@pytest.mark.parametrize("api", APIS)
def test_a_recovery_in_which_an_object_without_a_job_is_deleted_may_be_killed_there(
    starting: Starter, api: str
) -> None:
    """While answers are lost, lists are old and the service has its other faults."""
    killer, sweep = Killer(starting, seed="extra"), Sweep("extra-deleted", api, recovery=True, faults=True)
    killer.sweep(sweep, most=1)
    assert killer.report.swept[sweep] == 1
    assert killer.report.violations == []


#: What a kill must be shown to harm nothing at, by the points that stand for it.
WANTED = {
    "before the seal, and after": {"before-seal", "after-seal"},
    "after accept, before record": {"accepted"},
    "after fetch, before commit": {"fetched"},
    "after commit, before delete": {"transcript-committed", "rendered"},
    "during migration": {"migration-statement", "before-migration-commit", "after-migration-commit"},
    "around every commit": {"before-commit", "after-commit"},
    "between the parts of an output": {"output-temp-written", "output-renamed", "output-directory-synced"},
    "after delete, before record": {"deleted", "extra-deleted"},
}


@pytest.mark.parametrize("moment", WANTED)
@pytest.mark.parametrize("api", APIS)
def test_every_moment_that_matters_is_swept_at_first_or_in_a_recovery_with_and_without_faults(
    moment: str, api: str
) -> None:
    """Each through both APIs, in recoveries always."""
    for point, faults in product(WANTED[moment], (False, True)):
        assert Sweep(point, api, recovery=True, faults=faults) in sweeps()
        assert point == "extra-deleted" or Sweep(point, api, faults=faults) in sweeps()


def test_what_cannot_be_reached_is_not_waited_for() -> None:
    """All other points are, through each API, and one that was not reached is a finding."""
    missing = {(sweep.point, sweep.api) for sweep in sweeps()} ^ set(product(points(), APIS))
    assert missing == {("converted", "grpc"), ("transcription-deleted", "grpc"), ("upload-forgotten", "grpc")}


class Counting(Killer):
    """Kills nothing, and says that a point is reached so many times."""

    reached = 0

    def _hit(self, _sweep: Sweep, _first: str, count: int) -> bool:
        return count <= self.reached


@pytest.mark.parametrize(
    ("reached", "most", "found"),
    [
        (0, None, "never reached"),
        (0, 1, "never reached"),
        (1, None, ""),
        (MOST_HITS - 1, None, ""),
        (MOST_HITS, None, "not swept to its end"),
        (MOST_HITS, 3, ""),
    ],
)
def test_a_sweep_that_ends_before_its_end_says_so(
    starting: Starter, reached: int, most: int | None, found: str
) -> None:
    """A point that is never reached, and one that is reached for ever, prove nothing; a shorter sweep was asked for."""
    killer, sweep = Counting(starting, seed=""), Sweep("accepted", "rest")
    killer.reached = reached
    killer.sweep(sweep, most=most)
    assert killer.report.swept[sweep] == min(reached, most or MOST_HITS)
    assert found in "".join(killer.report.violations)
    assert bool(killer.report.violations) == bool(found)


def test_what_faults_kept_from_being_reached_is_no_finding(starting: Starter) -> None:
    """It is swept in fair weather too."""
    killer = Counting(starting, seed="")
    killer.sweep(Sweep("accepted", "rest", faults=True))
    assert killer.report.violations == []


def test_few_batches_make_short_sweeps() -> None:
    """So that a look takes a minute or two; from a hundred on every sweep goes to its end."""
    assert [most_hits(batches) for batches in (0, 5, 25, 99, 100, 200)] == [1, 1, 2, 4, None, None]
    names = tasks(5).keys()
    assert {str(sweep) for sweep in sweeps()} | {f"batch {number}" for number in range(5)} == names


def test_every_sweep_and_every_25th_batch_is_told_where_no_terminal_is() -> None:
    """A log shows that it goes on; a terminal shows one number."""
    report = Report(kills=Counter(accepted=2), violations=["!"])
    told = [progress("1 of 9", name, report, terminal=False) for name in ("rest accepted", "batch 24", "batch 25")]
    assert told == ["1 of 9: rest accepted, 2 kills, 1 violations\n", "1 of 9: batch 24, 2 kills, 1 violations\n", ""]
    assert progress("1 of 9", "batch 25", report, terminal=True) == "\r1 of 9 "


def test_the_summary_tells_how_far_each_point_was_swept() -> None:
    """In each way, or that it cannot be reached so."""
    report = Report(swept=Counter({Sweep("converted", "rest"): 7, Sweep("converted", "rest", recovery=True): 8}))
    (line,) = [line for line in table(report) if line.startswith("converted")]
    assert line.split() == ["converted", "7", "-", "0", "-", "8", "-", "0", "-", "0", "0"]


def test_a_batch_killed_at_any_moment_while_answers_are_lost_keeps_every_promise(starting: Starter) -> None:
    """Whenever that is."""
    killer = Killer(starting, seed="f")
    killer.random_batch(most=1)
    assert killer.report.violations == []


def test_a_batch_that_kept_every_promise_is_not_blamed(ended: Trial) -> None:
    """Nothing below would mean anything otherwise."""
    assert oracles.at_the_end(ended) == []
    assert oracles.acknowledged(ended)
    assert oracles.after_cut(ended) == []


@pytest.mark.parametrize("api", APIS)
def test_no_list_is_from_before_the_stranger(starting: Starter, tmp_path: Path, api: str) -> None:
    """An old list that does not show it would explain a refusal, and then no refusal would mean anything."""
    with trial(Recipe(api), tmp_path, starting) as batch:
        account = batch.emulator.account
        look = account.list_jobs if isinstance(account, RestAccount) else account.survey
        assert len(batch.emulator.portal.call(lambda: look(age_ms=60_000))) == 1


def spoil(path: Path, content: bytes | None) -> Callable[[Trial], Callable[[], object]]:
    """Return what gives an output other content (None: removes it), and then undoes that."""

    def do(batch: Trial) -> Callable[[], object]:
        target = batch.out / path
        before = target.read_bytes() if target.exists() else None
        target.unlink(missing_ok=True)
        if content is not None:
            target.write_bytes(content)
        return lambda: target.unlink() if before is None else target.write_bytes(before)

    return do


OUTPUT = Path("1/plain-1.wav.json")
SPOILED = [
    (spoil(OUTPUT, None), "missing"),
    (spoil(OUTPUT, b""), "not whole"),
    (spoil(OUTPUT, b'{"text": "other words"}'), "not the transcript"),
    (spoil(OUTPUT.with_suffix(".txt"), b"other words\n"), "is not what"),
    (spoil(Path(".batcher-1-1.tmp"), b"half"), "left in OUT"),
]


@pytest.mark.parametrize(("do", "words"), SPOILED, ids=[words for _, words in SPOILED])
def test_an_output_that_is_not_right_is_noticed(
    ended: Trial, do: Callable[[Trial], Callable[[], object]], words: str
) -> None:
    """Gone, empty, of other words, or a leftover."""
    undo = do(ended)
    try:
        assert any(words in found for found in oracles.at_the_end(ended))
    finally:
        undo()


WRONG_TABLES = [
    ("DELETE FROM transcript WHERE id = 1", "foreign key"),
    ("DELETE FROM history WHERE event = 'seal'", "is no path"),
    ("DELETE FROM history WHERE id = (SELECT max(id) FROM history)", "its history ends"),
    ("UPDATE tally SET jobs = jobs + 1", "totals"),
    ("UPDATE job SET state = 'failed' WHERE state = 'skipped'", "ended failed"),
    ("INSERT INTO extra (remote, reference, seen) VALUES ('1', '', 1)", "still wants deleted"),
]


@pytest.mark.parametrize(("sql", "words"), WRONG_TABLES, ids=[words for _, words in WRONG_TABLES])
def test_a_table_that_is_not_right_is_noticed(ended: Trial, sql: str, words: str) -> None:
    """A path with a gap, totals that drifted, a transcript that is gone."""
    before = ended.table.read_bytes()
    try:
        with closing(sqlite3.connect(ended.table, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = delete")
            connection.execute(sql)
        assert any(words in found for found in oracles.at_the_end(ended))
    finally:
        ended.table.write_bytes(before)


def test_a_transcript_that_was_deleted_before_it_was_kept_is_noticed(ended: Trial) -> None:
    """At the first look after a kill."""
    before = ended.table.read_bytes()
    ended.table.unlink()
    try:
        assert sum("transcript is not in the table" in found for found in oracles.after_kill(ended)) == 2
        assert any("was called done and is not" in found for found in oracles.after_cut(ended))
    finally:
        ended.table.write_bytes(before)


def test_what_is_paid_twice_or_left_behind_is_noticed(ended: Trial) -> None:
    """By the service's own count."""
    witness, account = ended.witness, ended.emulator.account
    item = witness.accepted[0]
    witness.accepted.append(replace(item, id="another"))
    try:
        assert any("transcribed 2 times" in found for found in oracles.at_the_end(ended))
    finally:
        witness.accepted.pop()
    (stranger,) = ended.emulator.portal.call(lambda: account.files)
    ended.emulator.portal.call(account.vanish, stranger.id)
    assert any("touched" in found for found in oracles.at_the_end(ended))


def test_where_no_power_can_be_cut_it_says_why_and_skips(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is no failure."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda tool: f"/usr/sbin/{tool}")
    monkeypatch.setattr("sys.argv", ["powercut", "10"])
    assert powercut.main() == 0
    assert "only root" in capsys.readouterr().out
