"""Answers of the REST API that are no results: refusals, gateways that speak HTML, connections that just end."""

from collections.abc import Callable

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from batcher.emulator.rest_bodies import ErrorBody, ValidationBody
from batcher.emulator.rest_refusals import RestRefusal

DOCUMENTATION = "https://soniox.com/docs/api-reference/errors"

Abort = Callable[[Scope], None]
"""Ends the connection of a request at once, as a broken network does."""


def error_response(refusal: RestRefusal, request_id: str, *, wrong_inner_status: bool = False) -> Response:
    """Return a refusal as the service words it. With the knob the body says 400 whatever the status is."""
    body = ErrorBody(
        status_code=400 if wrong_inner_status else refusal.status,
        error_type=refusal.code,
        message=refusal.message,
        validation_errors=[
            ValidationBody(error_type=each.error_type, location=each.location, message=each.message)
            for each in refusal.invalid
        ],
        request_id=request_id,
        more_info=f"{DOCUMENTATION}#{refusal.code.replace('_', '-')}",
    )
    return JSONResponse(body.model_dump(mode="json"), refusal.status)


def gateway_response(status: int) -> Response:
    """Return what a gateway says when it cannot reach the service: HTML, whatever the client accepts."""
    words = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}[status]
    page = f"<html>\n<head><title>{status} {words}</title></head>\n<body><h1>{status} {words}</h1></body>\n</html>\n"
    return HTMLResponse(page, status)


class Dropped(Response):
    """No answer at all: the connection ends."""

    def __init__(self, abort: Abort) -> None:
        super().__init__()
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """End the connection instead of answering."""
        await _end(self._abort, scope, receive)


class Cut(Response):
    """Half an answer: its head promises all of it, then the connection ends."""

    def __init__(self, whole: Response, abort: Abort) -> None:
        super().__init__()
        self._whole = whole
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the first half, then end the connection."""

        async def send_half(message: Message) -> None:
            if message["type"] == "http.response.body":
                body = message["body"]
                message = {**message, "body": body[: len(body) // 2], "more_body": True}
            await send(message)

        await self._whole(scope, receive, send_half)
        await _end(self._abort, scope, receive)


async def _end(abort: Abort, scope: Scope, receive: Receive) -> None:
    abort(scope)
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
