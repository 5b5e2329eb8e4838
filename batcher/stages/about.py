"""What a rendered transcript says about its recording, gathered from the table."""

import json

from batcher.model import Job
from batcher.render.about import About
from batcher.store.transcripts import Stored
from batcher.text import show_path


def about(job: Job, stored: Stored, batch: str) -> About:
    """Return the facts that stand beside the words in a rendered transcript."""
    return About(
        name=show_path(job.path.rpartition(b"/")[2]),
        path=job.path,
        size=None if job.url else job.size,
        sha256=job.digest.hex() if job.digest and not job.url else None,
        duration_ms=job.duration_ms,
        options=json.loads(stored.options),
        api=stored.api,
        model=stored.transcript.model,
        reference=stored.reference,
        remote=stored.remote,
        batch=batch,
        times={"sent": job.sealed_at} if job.sealed_at is not None else {},
    )
