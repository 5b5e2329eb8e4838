"""The guards, each with the few words that break it.

`before` stands exactly once in `path`; a guard that was rewritten makes its mutant fail to apply, so the list cannot
fall behind.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """A few words, and what stands there instead."""

    path: str  #: below the repository
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard, broken."""

    name: str  #: what the mutant does
    path: str  #: below the repository
    before: str
    after: str
    kinds: tuple[str, ...] = ()  #: the trouble that this guard is there for, where few nights have it
    hunter: str = ""  #: the test that finds it, as pytest names it, where the simulation cannot
    nights: int = 4  #: within how many it was found when it was last hunted, roundly
    also: Edit | None = None  #: a second guard that would hide it

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Return everything that is broken."""
        first = Edit(self.path, self.before, self.after)
        return (first, self.also) if self.also else (first,)


MUTANTS = (
    Mutant(
        "sends again without looking when an answer was lost",
        "batcher/policy.py",
        "    return Event.ANSWER_LOST if sealed else Event.POSTPONED\n",
        "    return Event.REFUSED\n",
    ),
    Mutant(
        "takes one look soon after a lost answer for proof",
        "batcher/judgement.py",
        "    if not scene.survey.complete or scene.began < earliest:\n        return\n",
        "    if not scene.survey.complete:\n        return\n    earliest = 0\n",
    ),
    Mutant(
        "takes one complete list for proof of absence, without waiting at all",
        "batcher/judgement.py",
        "    earliest = job.since + scene.settle.wait_ms\n",
        "    earliest = job.since + scene.settle.wait_ms\n"
        "    judgement.findings.append(_proven_absent(scene, job))\n    return\n",
    ),
    Mutant(
        "takes a failed listing for an empty one",
        "batcher/stages/poll.py",
        "        except ServiceError as error:\n            self._unanswered(error)\n            return\n",
        "        except ServiceError:\n            seen = Survey(())\n",
    ),
    Mutant(
        "takes an incomplete list for a complete one",
        "batcher/judgement.py",
        "    if not scene.survey.complete or scene.began < earliest:\n",
        "    if scene.began < earliest:\n",
        kinds=("torn",),
        nights=50,
    ),
    Mutant(
        "deletes the remote copy before the transcript is committed",
        "batcher/stages/collect.py",
        '        reach("fetched")\n',
        '        await context.service.delete(job.remote)\n        reach("fetched")\n',
    ),
    Mutant(
        "forgets to delete what was fetched",
        "batcher/stages/collect.py",
        "        try:\n            await self._delete(job)\n        except ServiceError:\n",
        "        try:\n            pass\n        except ServiceError:\n",
    ),
    Mutant(
        "clears failed jobs from the table only",
        "batcher/stages/collect.py",
        '        """Delete what failed or was cancelled; what there is a remedy for is sent once more."""\n'
        "        await self._delete(job)\n",
        '        """Delete what failed or was cancelled; what there is a remedy for is sent once more."""\n',
    ),
    Mutant(
        "never deletes leftovers",
        "batcher/store/survey.py",
        "    for extra in judgement.extras:\n        add_extra(ledger, extra)\n",
        "",
    ),
    Mutant(
        "ends the batch whatever the list still shows",
        "batcher/stages/poll.py",
        "        if outlook.unfinished or judgement.ours or context.deferred:\n",
        "        if outlook.unfinished or context.deferred:\n",
        # What a list shows is an extra or a job's, but for a recording that ended while the list was made.
        hunter="tests/test_engine_end.py::test_a_list_that_still_shows_something_of_ours_does_not_end_a_run",
    ),
    Mutant(
        "counts the quota without what is held",
        "batcher/store/claim.py",
        "    free = room.minus(held(ledger))\n",
        "    free = room\n",
    ),
    Mutant(
        "counts only what waits for its upload against the quota",
        "batcher/states.py",
        '"accepted by the service", pending=True, held=True)',
        '"accepted by the service")',
    ),
    Mutant(
        "does not count an uncertain attempt against the quota",
        "batcher/states.py",
        '"the answer was lost: look before sending again", pending=True, held=True)',
        '"the answer was lost: look before sending again")',
    ),
    Mutant(
        "forgets an upload that an earlier run was sending",
        "batcher/judgement.py",
        "    return job.state in (State.UPLOADING, State.SEALED) and job.session != scene.session\n",
        "    return False\n",
    ),
    Mutant(
        "takes an upload of an earlier run for unsealed",
        "batcher/judgement.py",
        "    sealed = job.state is State.SEALED\n    event = Event.ANSWER_LOST if sealed else Event.INTERRUPTED\n",
        "    sealed = job.state is State.SEALED\n    event = Event.REFUSED if sealed else Event.INTERRUPTED\n",
        nights=25,
    ),
    Mutant(
        "ignores what other clients hold",
        "batcher/policy.py",
        "        room = self.limits.load().minus(self.foreign).minus(reserve)\n",
        "        room = self.limits.load().minus(reserve)\n",
        nights=50,
    ),
    Mutant(
        "takes whoever comes and goes for one who grows",
        "batcher/policy.py",
        "        self.latest.append(seen)\n",
        "",
        kinds=("restless",),
        nights=25,
    ),
    Mutant(
        "decides about room on a list of any age",
        "batcher/policy.py",
        "        return self.began is not None and now - self.began <= self.fresh_ms\n",
        "        return self.known\n",
        nights=25,
    ),
    Mutant(
        "touches what is not ours",
        "batcher/judgement.py",
        "        if reference is None or reference.batch != scene.batch:\n"
        "            _count_foreign(judgement, remote)\n            continue\n",
        "        if reference is None or reference.batch != scene.batch:\n"
        "            _count_foreign(judgement, remote)\n            judgement.extras.append(remote)\n            continue\n",
        nights=12,
    ),
    Mutant(
        "does not compare recordings of one size",
        "batcher/store/admission.py",
        "    shared = _compare_shared(ledger, candidates)\n",
        "    shared = set[int]()\n",
        kinds=("twins",),
        nights=50,
    ),
    Mutant(
        "does not ask at the seal whether the audio is known",
        "batcher/stages/upload.py",
        "        if job.digest is None and await",
        "        if False and await",
        kinds=("twins",),
        nights=50,
    ),
    Mutant(
        "takes what it has deleted for the next attempt's",
        "batcher/stages/collect.py",
        '{"remote": None, "sealed_at": None, "first_attempt": job.attempt + 1}',
        '{"remote": None}',
        kinds=("hindsight",),
        nights=50,
    ),
    Mutant(
        "does not look for a job with the same audio under way",
        "batcher/store/admission.py",
        "    elif carrier:\n",
        "    elif carrier and job.id < 0:\n",
    ),
    Mutant(
        "moves a job whatever state it is in by now",
        "batcher/store/jobs.py",
        "        WHERE id = :id AND state = :source RETURNING path",
        "        WHERE id = :id AND :source = :source RETURNING path",
        kinds=("twins",),
        nights=50,
    ),
    Mutant(
        "lets the next attempt carry the reference of the last one",
        "batcher/store/claim.py",
        "    attempt = job.attempt + 1\n",
        "    attempt = max(1, job.attempt)\n",
    ),
    Mutant(
        "takes a deletion that failed for one that was done",
        "batcher/stages/collect.py",
        "            await self._context.service.delete(job.remote)\n",
        "            try:\n                await self._context.service.delete(job.remote)\n"
        "            except ServiceError:\n                pass\n",
    ),
    Mutant(
        "deletes bare audio that may still be used",
        "batcher/judgement.py",
        "    return _is_bare(remote) and _is_of(job, remote)\n",
        "    return False\n",
    ),
    Mutant(
        "leaves bare audio lying at the service",
        "batcher/judgement.py",
        "    judgement.extras += [r for r in listed if r not in usable[:1]]\n",
        "    judgement.extras += [r for r in listed if r not in usable[:1] and not _is_bare(r)]\n",
    ),
    Mutant(
        "ends without a last look for audio whose upload was lost",
        "batcher/stages/poll.py",
        "        context.lingering = began < outlook.loose\n",
        "        context.lingering = False\n",
        kinds=("straggler",),
        nights=60,
    ),
    Mutant(
        "counts neither files nor bytes",
        "batcher/model.py",
        "        return Load(1, 1, self.files, self.bytes)\n",
        "        return Load(1, 1, 0, 0)\n",
        nights=12,
    ),
    Mutant(
        "tries what the service failed again and again",
        "batcher/policy.py",
        "    if job.remedy == Remedy.AGAIN and not job.forgiven:\n",
        "    if job.remedy == Remedy.AGAIN:\n",
        nights=25,
    ),
    Mutant(
        "sends again what the service failed for good",
        "batcher/policy.py",
        "    if job.state is not State.FAILING or job.remedy is None:\n        return None\n",
        "    if job.state is not State.FAILING:\n        return None\n    if job.remedy is None:\n        return {}\n",
        nights=25,
    ),
    Mutant(
        "adopts what carries the reference of an earlier attempt",
        "batcher/judgement.py",
        "    return remote.id == job.remote or remote.reference == job.reference\n",
        "    return True\n",
        nights=25,
    ),
    Mutant(
        "keeps a transcript under any audio of the same options",
        "batcher/store/admission.py",
        '_TRANSCRIPT = "SELECT id FROM transcript WHERE digest = ? AND options = ?"\n',
        '_TRANSCRIPT = "SELECT id FROM transcript WHERE digest <> ? AND options = ?"\n',
    ),
    Mutant(
        "does not notice that a recording changed while it was sent",
        "batcher/stages/upload.py",
        "        if job.digest not in (None, digest):\n",
        "        if job.digest not in (None, digest) and job.id < 0:\n",
        nights=25,
    ),
    Mutant(
        "takes a look that missed a job before it moved for one of the two",
        "batcher/judgement.py",
        "    if job.absent_at is None or job.absent_at < earliest:  #",
        "    if job.absent_at is None:  #",
        kinds=("gap",),
        nights=60,
    ),
    Mutant(
        "goes by the times of a clock that was set since",
        "batcher/store/claim.py",
        "    if origin.same(Origin(boot, at)):\n",
        "    if origin.same(Origin(boot, at)) or boot:\n",
        kinds=("doubt",),
        nights=12,
    ),
    Mutant(
        "takes a list of several pages for whole that our own changes crossed",
        "batcher/service/rest_listing.py",
        "        self.sound = self.sound and not (self.pages > 1 and crossed)\n",
        "",
        kinds=("torn",),
        nights=100,
    ),
    Mutant(
        "does not hold a list of several pages against the service's count",
        "batcher/service/rest_listing.py",
        "            self.sound = self.sound and counts.public_api - crossed <= number <= counts.total + crossed\n",
        "",
        kinds=("torn",),
        nights=50,
    ),
    Mutant(
        "sends the twins of what the service has failed",
        "batcher/store/jobs.py",
        "        if cause in _SHARED_CAUSES:\n",
        "        if cause in ():\n",
        kinds=("twins",),
        nights=25,
    ),
    Mutant(
        "sends again under another name or time what the service has failed",
        "batcher/store/admission.py",
        "    elif verdict := verdicts.on(ledger, job, digest):\n",
        "    elif (verdict := verdicts.on(ledger, job, digest)) and job.id < 0:\n",
        kinds=("files", "failures", "twins"),
        nights=25,
    ),
    Mutant(
        "keeps no verdict on what was given up at the service",
        "batcher/store/verdicts.py",
        "        (state = 'cancelled' AND (remote IS NOT NULL OR forgiven OR convert))\n        OR (state",
        "        (state",
        kinds=("files", "requests", "twins"),
        nights=25,
    ),
    Mutant(
        "leaves no room for one when its share is small",
        "batcher/policy.py",
        "pending=ceil(ours.pending * self._share(now))",
        "pending=int(ours.pending * self._share(now))",
        # It comes back by itself, after ten minutes or so: less than the nights take for a standstill.
        hunter="tests/test_policy.py::test_our_share_is_held_and_then_recovers_within_ten_minutes",
    ),
    Mutant(
        "claims one more than there is room for",
        "batcher/store/claim.py",
        "        lacking = job.load.lacking(free)\n        if lacking:\n",
        "        lacking = job.load.lacking(free)\n        if lacking and (claimed or min(free.pending, free.stored) < 0):\n",
    ),
    Mutant(
        "deletes the audio before its transcription",
        "batcher/service/rest.py",
        "        if transcription:\n"
        "            await self._remove(self._client.stt.delete, transcription, self._listing.transcriptions)\n"
        '            reach("transcription-deleted")\n'
        "        if file:\n"
        "            await self._remove(self._client.files.delete, file, self._listing.files)\n",
        "        if file:\n"
        "            await self._remove(self._client.files.delete, file, self._listing.files)\n"
        "        if transcription:\n"
        "            await self._remove(self._client.stt.delete, transcription, self._listing.transcriptions)\n",
    ),
    Mutant(
        "judges a job by a list that was begun before it moved",
        "batcher/judgement.py",
        "    if job.since >= scene.began:\n        return  #",
        "    if job.since < 0:\n        return  #",
        nights=100,
    ),
    Mutant(
        "sends again by itself what the service has failed",
        "batcher/store/admission.py",
        "_FREE_TO_RETRY = (Cause.SOURCE, Cause.OUTPUT)\n",
        "_FREE_TO_RETRY = (Cause.SOURCE, Cause.OUTPUT, Cause.SERVICE)\n",
    ),
    Mutant(
        "does not adopt what showed up after it was proven absent",
        "batcher/judgement.py",
        "    late = remote.reference == job.reference and job.sealed_at is not None\n",
        "    late = False\n",
        # It must show up after the proof and before the job, now first in the queue, is claimed: once in hundreds of nights.
        hunter="tests/test_judgement.py::test_a_late_arrival_is_adopted_by_a_job_that_was_not_sent_again",
    ),
    Mutant(
        "leaves what failed of jobs that hold nothing",
        "batcher/judgement.py",
        "    judgement.extras += [r for r in listed if r not in usable[:1]]\n",
        "    judgement.extras += [r for r in listed if r not in usable[:1] and r.status is not RemoteStatus.FAILED]\n",
        nights=100,
    ),
    Mutant(
        "ends over a list that may have missed something",
        "batcher/stages/poll.py",
        "        if not complete or not context.scanned.is_set():\n",
        "        if not context.scanned.is_set():\n",
        # At the end lists have one page, which cannot miss anything, unless others hold many things.
        hunter="tests/test_engine_end.py::test_a_list_that_may_have_missed_something_does_not_end_a_run",
    ),
    Mutant(
        "ends before it has looked once more",
        "batcher/stages/poll.py",
        "            await self._finish()\n",
        "            await self._finish()\n"
        "        elif context.scanned.is_set() and not outlook.unfinished:\n            await self._finish()\n",
        kinds=("straggler",),
        nights=50,
    ),
    Mutant(
        "ends over what was asked for while it looked",
        "batcher/stages/poll.py",
        "            if not (context.plan.admit and await self._asked_meanwhile()):\n                context.finished.set()\n",
        "            context.finished.set()\n",
        # It is a matter of one second in a night.
        hunter="tests/test_engine_end.py::test_a_request_that_comes_with_the_last_list_is_heeded",
    ),
    Mutant(
        "takes recordings of one size for twins",
        "batcher/store/admission.py",
        "    SELECT id FROM job WHERE digest = :digest AND options = :options AND id <> :id\n      AND state IN (",
        "    SELECT id FROM job WHERE (digest = :digest OR size = (SELECT size FROM job WHERE id = :id))\n"
        "      AND digest NOTNULL AND options = :options AND id <> :id\n      AND state IN (",
    ),
    Mutant(
        "gives a twin any transcript there is",
        "batcher/store/jobs.py",
        '        facts = {"transcript": transcript, "twin_of": None, "not_before": 0, "asked": 0}\n',
        '        facts = {"transcript": 1, "twin_of": None, "not_before": 0, "asked": 0}\n',
    ),
    Mutant(
        "seals only after the service has answered (gRPC)",
        "batcher/service/grpc.py",
        "            await self._seal()\n            self.verb = Verb.SUBMIT_SEALED\n",
        "            self.verb = Verb.SUBMIT_SEALED\n",
        # The nights have a service of their own in place of this one: the suite of all services, over a real socket.
        hunter="tests/test_conformance.py::TestGrpc::test_a_lost_answer_after_the_seal_is_uncertain",
        also=Edit(
            "batcher/service/grpc.py",
            "                return await self._file_id(call, upload)\n",
            "                remote = await self._file_id(call, upload)\n                await seal()\n"
            "                return remote\n",
        ),
    ),
    Mutant(
        "takes an answer that was lost after the seal for a failure before it (gRPC)",
        "batcher/service/grpc.py",
        "            self.verb = Verb.SUBMIT_SEALED\n",
        "",
        hunter="tests/test_conformance.py::TestGrpc::test_a_lost_answer_after_the_seal_is_uncertain",  # likewise
    ),
    Mutant(
        "seals only after the service has answered (REST)",
        "batcher/service/rest.py",
        "            await self._client.turn_to_create()  # before the seal: who only waits has sent nothing yet\n"
        "            await seal()\n",
        "            await self._client.turn_to_create()  # before the seal: who only waits has sent nothing yet\n",
        also=Edit(
            "batcher/service/rest.py",
            "            return await self._create(submission, config, file)\n        except ServiceError as error:\n",
            "            remote = await self._create(submission, config, file)\n            await seal()\n"
            "            return remote\n        except ServiceError as error:\n",
        ),
    ),
    Mutant(
        "does not let pass what a person has asked for",
        "batcher/store/verdicts.py",
        "    return None if job.asked else find(",
        "    return find(",
        kinds=("files", "failures", "requests", "twins"),
        nights=12,
    ),
    Mutant(
        "takes a wish for one that holds for ever",
        "batcher/store/verdicts.py",
        '_FULFIL = "UPDATE job SET asked = 0 WHERE id = :id OR twin_of = :id"',
        '_FULFIL = "UPDATE job SET asked = 0 WHERE id = :id AND id < 0"',
        kinds=("files", "failures", "requests", "twins"),
        nights=25,
    ),
    Mutant(
        "fulfils the wish for one name only",
        "batcher/store/verdicts.py",
        "WHERE id = :id OR twin_of = :id",
        "WHERE id = :id",
        kinds=("files", "failures", "requests", "twins"),
        nights=25,
    ),
    Mutant(
        "lets every name pass the verdict when one is tried again",
        "batcher/requests.py",
        '    return jobs.start_over(ledger, job, Event.RETRY, "tried again',
        "    if job.digest is not None:\n        jobs.verdicts.drop(ledger, job.digest, job.options)\n"
        '    return jobs.start_over(ledger, job, Event.RETRY, "tried again',
        kinds=("files", "failures", "requests", "twins"),
    ),
    Mutant(
        "leaves failed what has a transcript by now",
        "batcher/store/transcripts.py",
        "    jobs.pardon(ledger, job)\n",
        "",
        kinds=("files", "failures", "requests", "twins"),
        nights=50,
    ),
    Mutant(
        "keeps a verdict on what was given up before it was accepted",
        "batcher/store/verdicts.py",
        "        (state = 'cancelled' AND (remote IS NOT NULL OR forgiven OR convert))\n",
        "        state = 'cancelled'\n",
        kinds=("requests", "twins"),
    ),
    Mutant(
        "does not ask at the seal what became of the audio before",
        "batcher/store/admission.py",
        "    return verdicts.on(ledger, job, digest) is not None\n",
        "    return False\n",
        kinds=("files", "failures", "twins"),
        nights=25,
    ),
    Mutant(
        "cancels again what was cancelled before it was tried again",
        "batcher/requests.py",
        '{"cancel_wanted": 0, "asked": 1}',
        '{"asked": 1}',
        kinds=("requests",),
    ),
    Mutant(
        "leaves the wish for what is given up",
        "batcher/store/jobs.py",
        'GIVE_UP: Facts = {"twin_of": None, "cause": None, "asked": 0}',
        'GIVE_UP: Facts = {"twin_of": None, "cause": None}',
        kinds=("files", "failures", "requests", "twins"),
        nights=150,
    ),
    Mutant(
        "does not remember what was sent of a recording that was touched",
        "batcher/store/admission.py",
        '        facts["earlier"] = _sent(job) if options == job.options else None\n',
        '        facts["earlier"] = None\n',
        # What was taken for lost shows up again: no night has that, because there two lists in a row miss nothing.
        hunter="tests/test_engine_verdicts.py::test_what_was_taken_for_lost_and_only_touched_is_taken_up",
    ),
    Mutant(
        "does not take up what was made of a recording that was touched",
        "batcher/judgement.py",
        "    touched = job.earlier is not None and job.earlier == job.digest and str(reference) == job.reference\n",
        "    touched = False\n",
        hunter="tests/test_judgement.py::test_what_was_only_touched_takes_up_what_was_made_of_it",  # likewise
    ),
    Mutant(
        "deletes what was made of a touched recording before that is read",
        "batcher/judgement.py",
        "    listed = [r for r in listed if not _may_be_own(job, r)]\n",
        "",
        hunter="tests/test_judgement.py::"  # likewise
        "test_what_was_made_of_a_recording_that_was_found_changed_is_kept_until_it_is_read",
    ),
    Mutant(
        "does not take up what an earlier attempt has made",
        "batcher/judgement.py",
        "    return sorted(usable, key=lambda remote: _worth(job, remote))[:1]\n",
        "    return sorted(usable, key=lambda remote: _worth(job, remote))[:0]\n",
        kinds=("overdue",),
    ),
    Mutant(
        "takes two lists at once for two",
        "batcher/judgement.py",
        "        return min(60_000, self.wait_ms // 3)\n",
        "        return 0\n",
        kinds=("straggler",),
    ),
    Mutant(
        "forgives the service two errors",
        "batcher/policy.py",
        '    if job.remedy == Remedy.AGAIN and not job.forgiven:\n        return {"forgiven": 1}\n',
        '    if job.remedy == Remedy.AGAIN and job.forgiven < 2:\n        return {"forgiven": job.forgiven + 1}\n',
        kinds=("failures",),
    ),
    Mutant(
        "never sends as much again as before it was refused",
        "batcher/policy.py",
        "recovering / SHARE_RECOVERS_MS)",
        "recovering / SHARE_RECOVERS_MS / 1000)",
        kinds=("quota unannounced",),
        nights=25,
    ),
    Mutant(
        "goes by a list that took hours",
        "batcher/policy.py",
        "min(polite, SURVEY_FRESH_LONGEST_MS)",
        "polite",
        kinds=("suspend",),
        nights=70,
    ),
    Mutant(
        "gives up after three tries",
        "batcher/stages/context.py",
        "    max_failures: int = 11 ",
        "    max_failures: int = 3 ",
        nights=12,
    ),
    Mutant(
        "does not wait for a service that went away",
        "batcher/stages/poll.py",
        "        if not self._reached and error.kind",
        "        if error.kind",
        kinds=("outage",),
    ),
    Mutant(
        "hardly looks for a service that went away",
        "batcher/stages/poll.py",
        "LONGEST_PROBE_SECONDS = 60.0",
        "LONGEST_PROBE_SECONDS = 3600.0",
        kinds=("outage",),
    ),
    Mutant(
        "forgets that an upload was cut short",
        "batcher/stages/upload.py",
        "            if loose:\n                jobs.mark_loose(ledger)\n",
        "",
        kinds=("straggler",),
    ),
    Mutant(
        "does not await answers when it is stopped",
        "batcher/engine.py",
        "DRAIN_SECONDS = 30.0",
        "DRAIN_SECONDS = 1.0",
        kinds=("stops", "slow"),
        nights=12,
    ),
    Mutant(
        "does not look again at what could not be read",
        "batcher/store/admission.py",
        "_FREE_TO_RETRY = (Cause.SOURCE, Cause.OUTPUT)\n",
        "_FREE_TO_RETRY = (Cause.OUTPUT,)\n",
        kinds=("files",),
        nights=30,
    ),
    Mutant(
        "cancels a recording that has changed since",
        "batcher/store/jobs.py",
        '    if event is Event.CHANGED:\n        fresh["cancel_wanted"] = 0\n',
        "",
        kinds=("files", "requests"),
        nights=25,
    ),
    Mutant(
        "gives each name and each touch of an audio a second chance",
        "batcher/store/jobs.py",
        "    elif target is State.FAILING:\n        verdicts.keep(ledger, job_id)\n",
        "",
        kinds=("files", "failures"),
        nights=60,
    ),
    Mutant(
        "forgets the second chance of an audio when its recording is touched",
        "batcher/store/jobs.py",
        "        verdicts.give_chance(ledger, job_id)\n",
        "        pass\n",
        kinds=("files", "failures"),
    ),
    Mutant(
        "leaves the second chance to whoever comes next",
        "batcher/store/admission.py",
        "facts | (verdict.chance if verdict else {})",
        "facts",
        kinds=("files", "failures"),
        nights=60,
    ),
    Mutant(
        "adopts what is to be deleted",
        "batcher/store/survey.py",
        "    return not condemned and not jobs.is_taken(",
        "    return not jobs.is_taken(",
        hunter="tests/test_store_survey.py::test_what_is_to_be_deleted_is_adopted_by_nobody",
    ),
    Mutant(
        "adopts what was made of what the recording was before",
        "batcher/judgement.py",
        "    return reference.attempt >= job.first_attempt and (",
        "    return (",
        hunter="tests/test_judgement.py::test_what_was_made_before_the_first_attempt_that_counts_is_only_deleted",
    ),
    Mutant(
        "claims again by the list from before a refusal",
        "batcher/policy.py",
        "        self.refused_since_look = True\n        self.doubt(now)\n",
        "        self.refused_since_look = True\n",
        hunter="tests/test_policy.py::test_after_a_refusal_nothing_is_claimed_before_a_new_listing",
    ),
    Mutant(
        "goes on in OUT with another table",
        "batcher/cli/belonging.py",
        "    if note is not None and not _is_of(place.db, note) and _binds(note):\n",
        "    if note is None:\n",
        hunter="tests/test_belonging.py::test_a_run_with_another_table_than_the_usual_one_is_refused",
    ),
    Mutant(
        "takes what another account does not show for lost",
        "batcher/stages/poll.py",
        "        if shown or context.plan.other_account or not unseen:\n",
        "        if seen.complete:\n",
        hunter="tests/test_engine_rest.py::test_a_key_of_another_account_is_noticed_before_anything_is_taken_for_lost",
    ),
)
