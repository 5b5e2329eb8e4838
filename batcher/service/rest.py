"""Soniox's REST API v1 behind the seam, through the official client.

Two objects make one of ours: the file, and the transcription that uses it. Both carry our reference; the id of
the pair is ``<transcription>/<file>``, either of which may be missing. An upload alone costs nothing, so the seal
stands between the two: what was uploaded and not used is deleted at once where that is possible, and otherwise
seen in the next survey.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
from soniox.errors import SonioxAPIError
from soniox.types import CreateTranscriptionConfig

from batcher.clock import Dice
from batcher.errors import BatcherError, Kind, ServiceError
from batcher.files.offload import offload
from batcher.killpoints import reach
from batcher.model import Survey, Transcript
from batcher.options import REST_DEFAULT_MODEL, Webhook
from batcher.service import Seal, Service, Submission, Verb
from batcher.service.rest_budget import Budget
from batcher.service.rest_errors import BROKEN, UNREADABLE, hint, is_page, sort
from batcher.service.rest_http import (
    BROKEN_CALLS,
    HOSTS,
    UNREADABLE_ANSWERS,
    BadAnswer,
    Client,
    base_url,
    open_wire,
    type_of,
    words_of,
)
from batcher.service.rest_listing import Changes, Listing
from batcher.service.rest_messages import (
    ListedFile,
    is_id,
    join_id,
    split_id,
    transcript,
    transcription_config,
)
from batcher.service.rest_upload import Upload
from batcher.service.shared import Key, hidden, keyless

__all__ = ["HOSTS", "RestService", "open_rest"]

CLOSE_SECONDS = 5  #: how long the connections may take to end
FORGET_SECONDS = 3  #: how long an unused upload may take to be deleted at once
LEAST_POLL_SECONDS = 0.1
SURVEYS_SHARE = 60 * 10  #: seconds of a minute, times ten
CREATE_TRIES = 3  #: a transcription refused for the pace is tried so often: its bytes are there already
LONG_BYTES = 128 * 1024  #: a transcript of more bytes is not read in the loop

_EXPLICIT = (Kind.FULL, Kind.RATE, Kind.HOPELESS, Kind.STOP)  #: the service says that it kept nothing
_DETAILS_CHARACTERS = 500  # a service's reason that is longer says nothing more to a person


@asynccontextmanager
async def open_rest(
    host_or_region: str,
    key: str,
    *,
    ca_file: Path | None = None,
    insecure: bool = False,
    requests_per_minute: int = 200,
    webhook: Webhook | None = None,
    connections: int = 64,
) -> AsyncIterator[Service]:
    """Yield the service of the account of `key`; the connection is made by the first call.

    Args:
        host_or_region: ``us``, ``eu`` or ``jp``, or ``https://NAME[:PORT]``; ``http://`` for this machine only,
            or anywhere with `insecure`. Empty is ``us``.
        key: the API key, sent with every call. It works only in the region of its project.
        ca_file: certificates (PEM) to trust instead of the usual authorities.
        insecure: allow to send the key over an unencrypted connection to another machine.
        requests_per_minute: of each of the service's two buckets; 0 is no limit but what refusals teach.
        webhook: where the service reports ended transcriptions.
        connections: at most so many at once; a call more waits.

    Raises:
        UsageError: `host_or_region`, `ca_file` or the environment's proxy cannot be used.
        AccountRefused: `key` cannot be one.
    """
    secret = Key(key)
    base = base_url(host_or_region, insecure=insecure)
    wire = open_wire(base, ca_file=ca_file, connections=connections)
    client = Client(base, secret, Budget(requests_per_minute), wire)
    try:
        yield RestService(client, secret, webhook or Webhook(), poll_seconds=politeness(requests_per_minute))
    finally:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await client.aclose()


def politeness(requests_per_minute: int) -> float:
    """Return the shortest time between two surveys, in seconds.

    A survey asks once in each bucket, and a tenth of the requests is spent on surveys: the rest moves jobs.
    """
    if requests_per_minute == 0:
        return LEAST_POLL_SECONDS
    return max(SURVEYS_SHARE / requests_per_minute, LEAST_POLL_SECONDS)


class RestService:
    """One account at the REST API. Made by `open_rest`.

    A night in virtual time has no threads and one seed for everything: it gives its `dice` and no end to `long_bytes`.
    """

    name = "rest"
    bare_uploads = True

    def __init__(
        self,
        client: Client,
        key: Key,
        webhook: Webhook | None = None,
        *,
        dice: Dice | None = None,
        long_bytes: float = LONG_BYTES,
        poll_seconds: float = LEAST_POLL_SECONDS,
    ) -> None:
        self.account = key.account(client.api_base_url)
        self.poll_seconds = poll_seconds
        self._client = client
        self._key = key
        self._webhook = webhook or Webhook()
        self._listing = Listing(client)
        self._chance = (dice or Dice()).stream("multipart")
        self._long_bytes = long_bytes

    @property
    def slowed(self) -> str:
        """Return that calls wait for their turn, if some do."""
        pace = self._client.budget.pace
        return f"for its turn: {pace:.0f} requests a minute (--requests-per-minute)" if pace else ""

    async def submit(self, submission: Submission, seal: Seal) -> str:
        """Send one recording and return the id of its transcription and file; see `Service.submit`."""
        config = transcription_config(submission.options, self._webhook)
        file = "" if submission.audio_url else await self._upload(submission)
        try:
            await self._client.turn_to_create()  # before the seal: who only waits has sent nothing yet
            await seal()
        except BaseException as error:
            gone = await self._forget(file)
            if isinstance(error, BatcherError):
                error.loose = not gone
            raise
        try:
            return await self._create(submission, config, file)
        except ServiceError as error:
            if error.kind is not Kind.UNCERTAIN:
                error.loose = not await self._forget(file)
            raise

    async def _upload(self, submission: Submission) -> str:
        boundary = f"batcher-{self._chance.getrandbits(128):032x}"
        effect = self._listing.files.change()
        upload = Upload(self._client, submission.reference, submission.audio, boundary=boundary, effect=effect)
        with _loose_unless_refused(upload), self._sorted(Verb.SUBMIT):
            response = await upload.run()
            file = ListedFile.model_validate_json(response.content).id
            if not upload.whole:
                raise BadAnswer("the service ended the upload before it was whole")
            if not is_id(join_id("", file)) or self._key.is_in(file):
                raise BadAnswer("the service gave the file no id")
            return file

    async def _create(self, submission: Submission, config: CreateTranscriptionConfig, file: str) -> str:
        """Have the file transcribed. Refused for the pace alone, it is worth waiting for the next turn."""
        tries = 1
        while True:
            try:
                return await self._create_once(submission, config, file)
            except ServiceError as error:
                if error.kind is not Kind.RATE or tries == CREATE_TRIES:
                    raise
            tries += 1
            await self._client.turn_to_create()

    async def _create_once(self, submission: Submission, config: CreateTranscriptionConfig, file: str) -> str:
        with self._sorted(Verb.SUBMIT_SEALED), self._listing.transcriptions.change():
            created = await self._client.stt.create(
                model=submission.options.model or REST_DEFAULT_MODEL,
                file_id=file or None,
                audio_url=submission.audio_url or None,
                client_reference_id=submission.reference,
                config=config,
            )
            remote = join_id(created.id, file)
            if not is_id(remote) or not created.id or self._key.is_in(created.id):
                raise BadAnswer("the service gave the transcription no id")
            return remote

    async def survey(self, *, thorough: bool = True) -> Survey:
        """Return everything the account's project holds; see `Listing` for when it is complete."""
        try:
            with self._sorted(Verb.SURVEY):
                seen = await (self._listing.survey() if thorough else self._listing.glance())
                return hidden(keyless(seen, self._key), self._hide)
        except ServiceError as error:
            error.answered = error.answered or self._listing.heard
            raise

    async def fetch(self, remote: str) -> Transcript:
        """Return the transcript of a completed transcription; see `Service.fetch`."""
        if not is_id(remote):
            raise ServiceError(Kind.GONE, "another API has given it its id, by which this one knows nothing")
        transcription, _ = split_id(remote)
        assert transcription, "an upload has no transcript"
        with self._sorted(Verb.FETCH):
            body = (await self._client.request("GET", f"/transcriptions/{transcription}/transcript")).content
            model = await self._listing.model_of(transcription)
        return transcript(body, model) if len(body) < self._long_bytes else await offload(transcript, body, model)

    async def delete(self, remote: str) -> None:
        """Remove the transcription, then its file; either being gone already is success.

        So is an id of another API's: nothing is here by it, and the service would refuse it as no id, for ever.
        """
        if not is_id(remote):
            return
        transcription, file = split_id(remote)
        if transcription:
            await self._remove(self._client.stt.delete, transcription, self._listing.transcriptions)
            reach("transcription-deleted")
        if file:
            await self._remove(self._client.files.delete, file, self._listing.files)

    async def _remove(self, remove: Callable[[str], Awaitable[None]], name: str, changes: Changes) -> None:
        try:
            with self._sorted(Verb.DELETE), changes.change():
                await remove(name)
        except ServiceError as error:
            if error.kind is not Kind.GONE:
                raise

    async def _forget(self, file: str) -> bool:
        """Delete an upload that nothing uses, if that can be done at once; tell whether it is gone."""
        if not file:
            return True
        with anyio.move_on_after(FORGET_SECONDS, shield=True), suppress(ServiceError):
            await self.delete(join_id("", file))
            reach("upload-forgotten")
            return True
        return False

    @contextmanager
    def _sorted(self, verb: Verb) -> Iterator[None]:
        """Turn whatever a call ends with into the one error of the seam.

        The error that caused it is left behind: the service may have put the key into it.
        """
        try:
            yield
        except SonioxAPIError as error:
            raise self._refusal(error, verb) from None
        except UNREADABLE_ANSWERS as error:
            words = str(error) if isinstance(error, BadAnswer) else "the service's answer cannot be understood"
            raise self._error(UNREADABLE, "", words, verb) from None
        except BROKEN_CALLS as error:
            raise self._error(BROKEN, type(error).__name__, str(error) or "no answer in time", verb) from None

    def _hide(self, text: str) -> str:
        """Return `text` without what nobody may read, should the service have repeated it."""
        secret = self._webhook.header_value.get_secret_value()
        hidden = self._key.hide(text)
        return hidden.replace(secret, "<secret>") if secret else hidden

    def _refusal(self, error: SonioxAPIError, verb: Verb) -> ServiceError:
        return self._error(error.status_code or BROKEN, type_of(error), words_of(error), verb)

    def _error(self, status: int, error_type: str, message: str, verb: Verb) -> ServiceError:
        kind = sort(status, error_type, message, verb)
        code = " ".join(filter(None, (str(status or ""), error_type)))
        words = self._hide(message)[:_DETAILS_CHARACTERS] or "no reason given"
        words += " (not the service's own words)" if is_page(status, error_type) else ""
        fix = hint(status, error_type) if kind is Kind.STOP else ""
        answered = status != BROKEN and bool(error_type)
        return ServiceError(kind, f"{code}: {words}", code=code, hint=fix, answered=answered)


@contextmanager
def _loose_unless_refused(upload: Upload) -> Iterator[None]:
    """Mark the failure of an upload that may have arrived all the same: whole or answered, and not refused."""
    try:
        yield
    except ServiceError as error:
        answered = upload.whole or error.kind is not Kind.UNREACHABLE
        error.loose = answered and error.kind not in _EXPLICIT
        raise
