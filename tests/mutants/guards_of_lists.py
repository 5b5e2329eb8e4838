"""Guards of what a list proves: what is there, whose it is, and when something is not there."""

from tests.mutants.mutant import Edit, Mutant

WHAT_LISTS_PROVE = (
    Mutant(
        "takes one look soon after a lost answer for proof",
        "batcher/judgement.py",
        "    if not scene.survey.complete or scene.began < earliest:\n        return None\n",
        "    if not scene.survey.complete:\n        return None\n    earliest = 0\n",
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
        "never deletes leftovers",
        "batcher/store/survey.py",
        "    for extra in judgement.extras:\n",
        "    for extra in ():\n",
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
        "touches what is not ours",
        "batcher/judgement.py",
        "        if reference is None or reference.batch != scene.batch:\n"
        "            _count_foreign(judgement, remote)\n            continue\n",
        "        if reference is None or reference.batch != scene.batch:\n"
        "            _count_foreign(judgement, remote)\n            judgement.extras.append(remote)\n            continue\n",
        nights=12,
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
        nights=5,  # the first finds it, but takes as long as five: it never ends
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
        "adopts what carries the reference of an earlier attempt",
        "batcher/judgement.py",
        "    return remote.id == job.remote or remote.reference == job.reference\n",
        "    return True\n",
        nights=150,
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
        "does not adopt what showed up after it was proven absent",
        "batcher/judgement.py",
        "    whole = job.sealed_at is not None if own else",
        "    whole = False if own else",
        # It must show up after the proof and before the job, now first in the queue, is claimed: once in hundreds of
        # nights.
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
        "adopts what is to be deleted",
        "batcher/store/survey.py",
        "    return not _is_condemned(ledger, finding) and not jobs.is_taken(",
        "    return not jobs.is_taken(",
        hunter="tests/test_store_survey.py::test_what_is_to_be_deleted_is_adopted_by_nobody",
    ),
    Mutant(
        "leaves a later attempt's audio to itself when an earlier one is adopted",
        "batcher/judgement.py",
        "            _forsake(scene, job, listed, judgement)\n",
        "            pass\n",
        hunter="tests/test_judgement.py::"  # one night in thousands
        "test_bare_audio_of_the_present_attempt_is_in_the_way_once_an_earlier_one_is_adopted",
    ),
    Mutant(
        "deletes what is left of a job whose adoption is put off",
        "batcher/store/survey.py",
        "        if _job_of(extra) not in held_back:  #",
        "        if True:  #",
        hunter="tests/test_store_survey.py::"  # three coincidences in one job
        "test_what_the_present_attempt_made_is_kept_while_what_it_would_give_way_to_is_being_deleted",
    ),
    Mutant(
        "adopts what was made of what the recording was before",
        "batcher/judgement.py",
        "    return reference.attempt >= job.first_attempt and (",
        "    return (",
        hunter="tests/test_judgement.py::test_what_was_made_before_the_first_attempt_that_counts_is_only_deleted",
    ),
    Mutant(
        "takes what another account does not show for lost",
        "batcher/stages/poll.py",
        "        if shown or context.plan.other_account or not unseen:\n",
        "        if seen.complete:\n",
        hunter="tests/test_engine_rest.py::test_a_key_of_another_account_is_noticed_before_anything_is_taken_for_lost",
    ),
)
