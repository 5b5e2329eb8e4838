"""Scan: bring what lies below the inputs into the table."""

from functools import partial

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from batcher.killpoints import reach
from batcher.model import Job
from batcher.stages.context import Context
from batcher.states import Event, State
from batcher.store import admission, jobs, transcripts
from batcher.store.admission import Candidate
from batcher.store.table import Ledger


async def scan(context: Context) -> None:
    """Record every recording below the inputs, and have missing outputs of finished ones rendered again.

    Jobs that changed while they are under way are left to end first; their paths stay in `context.deferred`.
    """
    options = context.plan.options
    await context.table.transact(
        partial(transcripts.remember_options, fingerprint=options.fingerprint(), body=options.to_json())
    )
    if context.plan.scan:
        await _scan_inputs(context)
    context.scanned.set()
    context.bells.poll.ring()


async def _scan_inputs(context: Context) -> None:
    roots = await context.disk.roots()
    prefixes = await context.table.transact(lambda ledger: admission.roots(ledger, roots, context.disk.folder_name))
    fingerprint = context.plan.options.fingerprint()
    deferred: list[bytes] = []  # the old list stays until this one is whole: the run must not end in between
    send, found = anyio.create_memory_object_stream[list[Candidate]]()
    async with anyio.create_task_group() as tasks, found:
        tasks.start_soon(_look, context, prefixes, send, name="look")
        async for candidates in found:
            work = partial(admission.scanned, candidates=candidates, options=fingerprint)
            result = await context.table.transact(work)
            reach("scan-committed")
            deferred += result.deferred
            context.bells.examine.ring()
            await _render_missing(context, result.finished)
    context.deferred = deferred


async def _look(context: Context, prefixes: dict[bytes, str], send: MemoryObjectSendStream[list[Candidate]]) -> None:
    """Look through the inputs, always a step ahead of the table."""
    async with send:
        async for candidates in context.disk.scan(prefixes):
            await send.send(candidates)


async def _render_missing(context: Context, finished: list[Job]) -> None:
    """Have outputs made again that are missing, or that were never made in a format asked for now."""
    wanted = {job.id: [f"{job.output}.{name}" for name in context.plan.formats] for job in finished}
    missing = set(await context.disk.missing([output for outputs in wanted.values() for output in outputs]))
    incomplete = [job for job in finished if missing.intersection(wanted[job.id]) or not _shows(job, context)]
    if incomplete:
        await context.table.transact(partial(_render_again, incomplete=incomplete))


def _shows(job: Job, context: Context) -> bool:
    """Tell whether every format asked for was written from the job's present transcript."""
    return job.shown == job.transcript and set(context.plan.formats) <= set(job.formats.split(","))


def _render_again(ledger: Ledger, incomplete: list[Job]) -> None:
    for job in incomplete:
        jobs.fire(ledger, job.id, State.DONE, Event.RENDER, "an output was missing")
