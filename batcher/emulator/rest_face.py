"""The REST API in front of the core: routes, the key, budgets, faults, and a refusal as an answer in JSON.

A request is checked in the order in which the service presumably does it: key, permission, budget, form, money, room.
"""

import itertools
import re
from collections.abc import AsyncGenerator
from uuid import UUID

import anyio
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batcher.clock import Dice
from batcher.emulator import faults
from batcher.emulator import rest_refusals as refuse
from batcher.emulator.core import Core
from batcher.emulator.faults import Fault, Plan, Trouble
from batcher.emulator.objects import Refusal
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_answers import Abort, Cut, Dropped, error_response, gateway_response
from batcher.emulator.rest_calls import CALLS, Ask, RestCall, json_response
from batcher.emulator.rest_messages import file_body
from batcher.emulator.rest_openapi import document
from batcher.emulator.rest_refusals import Bucket, Invalid, RestRefusal
from batcher.emulator.rest_upload import Form
from batcher.emulator.tally import Call

BODY_BYTES = 1 << 20  #: a body of JSON may have so many

_Stream = AsyncGenerator[bytes, None]


class _ObjectConvertor(StringConvertor):
    """Takes whatever may be an id, but not the word that is a path of its own."""

    regex = "(?!count$)[^/]+"


register_url_convertor("object", _ObjectConvertor())


class RestFace:
    """Serves a core; `plan` says what goes wrong on the way. `abort` is set by the server that runs it."""

    abort: Abort

    def __init__(self, core: Core, plan: Plan, *, dice: Dice) -> None:
        self._core = core
        self._plan = plan
        self._dice = dice
        self._gateways = itertools.cycle((503, 502))
        routes = [self._route(path) for path in dict.fromkeys(call.path for call in CALLS)]
        routes.append(Route("/v1/openapi.json", self._describe, methods=["GET"]))
        self.app = Starlette(routes=routes, exception_handlers={HTTPException: self._unknown})

    def _route(self, path: str) -> Route:
        """Return the one route of a path: a wrong method is then told all the right ones."""
        calls = {call.method: call for call in CALLS if call.path == path}

        async def endpoint(request: Request) -> Response:
            return await self._respond(calls["GET" if request.method == "HEAD" else request.method], request)

        return Route(re.sub(r"{(\w+)}", r"{\1:object}", path), endpoint, methods=list(calls))

    async def _respond(self, call: RestCall, request: Request) -> Response:
        try:
            return await self._serve(call, request, request.stream())
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    async def _describe(self, _request: Request) -> Response:
        return JSONResponse(document())

    async def _unknown(self, _request: Request, error: Exception) -> Response:
        """Answer for a path that is none, or a method that it does not know."""
        assert isinstance(error, HTTPException)
        error_type = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        response = self._error(RestRefusal(error.status_code, error_type, str(error.detail)))
        response.headers.update(error.headers or {})
        return response

    async def _serve(self, call: RestCall, request: Request, body: _Stream) -> Response:
        account: RestAccount | None = None
        try:
            account = self._core.enter_rest(_key(request))
            fault = self._fault(call.call, account)
            if fault is not None and fault.trouble is Trouble.REFUSED:
                return self._refused(fault.code)
            account.begin(call.name, call.bucket)
            return await self._act(call, account, request, body, fault)
        except RestRefusal as refusal:
            return self._error(refusal, account, call.bucket)
        except Refusal as lost:
            return self._lost(lost.code)

    async def _act(
        self, call: RestCall, account: RestAccount, request: Request, body: _Stream, fault: Fault | None
    ) -> Response:
        if call.act is None:
            response = await self._upload(account, request, body, fault)
        else:
            content = await _read(body)
            if call.call is Call.SUBMIT:
                faults.passed(fault)
            faults.before_effect(fault)
            response = call.act(Ask(account, self._dice, request.path_params, request.query_params, content, fault))
        await anyio.sleep(faults.delay_ms(fault) / 1000)
        faults.answering(fault)
        if call.call is Call.FETCH and fault is not None and fault.trouble is Trouble.CUT:
            return Cut(response, self.abort)
        return response

    async def _upload(self, account: RestAccount, request: Request, body: _Stream, fault: Fault | None) -> Response:
        """Take a file; its bytes are counted and hashed as they come."""
        with account.upload() as upload:
            form, count = Form(request.headers.get("content-type", ""), upload.add), 0
            async for chunk in body:
                faults.passing(fault, count)
                form.write(chunk)
                count += 1
            filename = form.finish()
            faults.passed(fault)
            faults.before_effect(fault)
            self._core.enter_rest(_key(request))  # a key may be revoked while the bytes travel
            reference = form.texts.get("client_reference_id", "")
            file = upload.accept(filename, reference, hidden_ms=faults.hidden_ms(fault))
        return json_response(file_body(file), 201)

    def _fault(self, call: Call, account: RestAccount) -> Fault | None:
        fault = self._plan.decide(call)
        if fault is not None:
            account.tally.injected[f"{call}.{fault.trouble}"] += 1
        return fault

    def _refused(self, code: str) -> Response:
        """Answer for a service that refuses for the moment: an error of its own, or of the gateway before it."""
        if code == "INTERNAL":
            return self._error(refuse.internal())
        if code == "DEADLINE_EXCEEDED":
            return self._error(refuse.timed_out())
        return gateway_response(next(self._gateways))

    def _lost(self, code: str) -> Response:
        """Answer for a request whose answer is lost: mostly not at all."""
        if code == "INTERNAL":
            return self._error(refuse.internal())
        if code == "DEADLINE_EXCEEDED":
            return gateway_response(504)
        return Dropped(self.abort)

    def _error(
        self, refusal: RestRefusal, account: RestAccount | None = None, bucket: Bucket | None = None
    ) -> Response:
        knobs = self._core.knobs.rest
        request_id = str(UUID(int=self._dice.stream("emulator.requests").getrandbits(128), version=4))
        response = error_response(refusal, request_id, wrong_inner_status=knobs.wrong_inner_status)
        if knobs.retry_after and refusal.reason == "requests" and account is not None and bucket is not None:
            response.headers["retry-after"] = str(-(-account.retry_after_ms(bucket) // 1000))
        return response


def _key(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def _read(body: _Stream) -> bytes:
    content = bytearray()
    async for chunk in body:
        content += chunk
        if len(content) > BODY_BYTES:
            raise refuse.invalid(Invalid("body", f"At most {BODY_BYTES} bytes are allowed."))
    return bytes(content)
