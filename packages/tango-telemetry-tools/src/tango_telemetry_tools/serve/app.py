"""The HTTP side: OTLP comes in at /v1/traces, /v1/logs and /v1/metrics, the page and its questions are
answered from the store.
"""

from __future__ import annotations

import gzip
import hmac
import json
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..store.criteria import SORTS, Criteria, parse_duration, parse_time
from ..store.database import Store
from ..store.queries import GROUPS, TOP_SORTS, device_map, find_traces, top
from ..store.signals import find_logs, logs_of_trace, metrics, relations
from ..viewer.list import as_json
from ..viewer.map_picture import render_svg
from ..viewer.page import read_asset
from ..viewer.trace_data import as_data, log_as_data, metric_as_data
from ..viewer.tree import build_forest
from .receiver import MAX_MESSAGE_BYTES, parse_protobuf, read_document

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; connect-src "
    "'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_MAX_LENGTH = 500
# The newest traces of which a histogram is made.
_SAMPLE = 5000
_ASSETS = {"trace.js": "text/javascript", "serve.js": "text/javascript", "page.css": "text/css"}

Answer = Callable[[Request], Any]


def make_app(store: Store, token: str = "", loopback: bool = True) -> ASGIApp:
    """Return the application.

    With a `token` everything asks for it; on `loopback` only local names are answered.
    """

    def asked(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                found = await run_in_threadpool(answer, request)
            except (ValueError, OverflowError) as error:
                return JSONResponse({"error": str(error)}, 400, _HEADERS)
            return found if isinstance(found, Response) else JSONResponse(found, 200, _HEADERS)

        return endpoint

    async def take(request: Request) -> Response:
        signal = request.url.path.rpartition("/")[2]
        kind = request.headers.get("content-type", "")
        try:
            body = await _body(request)
            await run_in_threadpool(_take, store, body, kind, signal)
        except _TooLargeError:
            return PlainTextResponse(f"more than {MAX_MESSAGE_BYTES >> 20} MB", 413)
        except (ValueError, RecursionError, DecodeError, OSError, EOFError, zlib.error) as error:
            return PlainTextResponse(f"no OTLP {signal}: {error}", 400)
        if "json" in kind:
            return JSONResponse({})
        return Response(b"", media_type="application/x-protobuf")

    def traces(request: Request) -> dict[str, Any]:
        wanted, sort, length = _criteria(request), request.query_params.get("sort", "start"), _length(request)
        if sort not in SORTS:
            raise ValueError(f"sort is one of {', '.join(SORTS)}")
        found = find_traces(store, wanted, sort, length)
        return {
            "total": found.total,
            "folded": found.folded,
            "traces": [as_json(trace) for trace in found.traces],
        }

    def histogram(request: Request) -> list[list[int]]:
        # By powers of two: what is unusual stands apart.
        counts: dict[int, list[int]] = {}
        for trace in find_traces(store, _criteria(request), "start", _SAMPLE).traces:
            bucket = counts.setdefault(trace.duration.bit_length(), [0, 0])
            bucket[0] += 1
            bucket[1] += bool(trace.errors)
        return [[1 << max(0, number - 1), *counts[number]] for number in sorted(counts)]

    def trace(request: Request) -> Any:
        wanted = str(request.path_params["trace"])
        spans = store.trace(wanted) if len(wanted) == 32 and not wanted.strip("0123456789abcdef") else []
        if not spans:
            return JSONResponse({"error": "this trace is not here (yet)"}, 404, _HEADERS)
        return as_data(build_forest(spans), relations(store, wanted), logs_of_trace(store, wanted))

    def logs(request: Request) -> dict[str, Any]:
        found, total = find_logs(store, _criteria(request), _length(request))
        return {"total": total, "logs": [log_as_data(record) for record in found]}

    def numbers(request: Request) -> list[dict[str, Any]]:
        return [metric_as_data(metric) for metric in metrics(store, _criteria(request))]

    def ranking(request: Request) -> list[dict[str, Any]]:
        by = request.query_params.get("by", "")
        if by not in GROUPS:
            raise ValueError("by is one of class, device, operation, caller")
        sort = request.query_params.get("sort", "total")
        if sort not in TOP_SORTS:
            raise ValueError(f"sort is one of {', '.join(TOP_SORTS)}")
        rows = sorted(top(store, _criteria(request), by), key=attrgetter(sort), reverse=True)
        return [asdict(row) for row in rows[: _length(request)]]

    def calls(request: Request) -> Any:
        found = device_map(
            store, _criteria(request), "class" if request.query_params.get("by") == "class" else "device"
        )
        if request.url.path.endswith(".svg"):
            # As an image nothing in it can run; its own style is all that it needs.
            headers = {**_HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
            return Response(render_svg(found), media_type="image/svg+xml", headers=headers)
        return {"nodes": found.nodes, "edges": [asdict(edge) for edge in found.edges]}

    def page(request: Request) -> Response:
        return Response(read_asset("serve.html"), media_type="text/html", headers=_HEADERS)

    def asset(request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in _ASSETS:
            return PlainTextResponse("not found", 404, _HEADERS)
        return Response(read_asset(name), media_type=_ASSETS[name], headers=_HEADERS)

    def state(request: Request) -> dict[str, int]:
        return {"changes": store.changes}

    app = Starlette(
        routes=[
            Route("/", asked(page)),
            Route("/assets/{name}", asked(asset)),
            Route("/v1/traces", take, methods=["POST"]),
            Route("/v1/logs", take, methods=["POST"]),
            Route("/v1/metrics", take, methods=["POST"]),
            Route("/api/state", asked(state)),
            Route("/api/traces", asked(traces)),
            Route("/api/histogram", asked(histogram)),
            Route("/api/traces/{trace}", asked(trace)),
            Route("/api/top", asked(ranking)),
            Route("/api/logs", asked(logs)),
            Route("/api/metrics", asked(numbers)),
            Route("/api/map", asked(calls)),
            Route("/api/map.svg", asked(calls)),
        ]
    )
    return _Guard(app, token, loopback)


class _Guard:
    """Answers nobody whom it does not know: other names of this machine (DNS rebinding), other pages, who has
    no token.
    """

    def __init__(self, app: ASGIApp, token: str, loopback: bool) -> None:
        self._app = app
        self._token = token
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refuse(Request(scope))) is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refuse(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if self._loopback and urlsplit(f"//{host}").hostname not in ("localhost", "127.0.0.1", "::1"):
            return PlainTextResponse("this server answers to localhost only", 403)
        origin = request.headers.get("origin")
        if origin and urlsplit(origin).netloc != host:
            return PlainTextResponse("other pages may not send here", 403)
        if not self._token:
            return None
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = given or request.cookies.get("token", "") or request.query_params.get("token", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
            return PlainTextResponse("a token is needed; it stands where the server was started", 401)
        if "token" in request.query_params:
            # Into a cookie, and out of the address that may be passed on.
            answer = Response(b"", 303, {**_HEADERS, "Location": request.url.path})
            answer.set_cookie("token", self._token, httponly=True, samesite="strict")
            return answer
        return None


class _TooLargeError(Exception):
    pass


async def _body(request: Request) -> bytes:
    """Read the body, decompressed. Neither may be larger than MAX_MESSAGE_BYTES."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_MESSAGE_BYTES:
            raise _TooLargeError
        parts.append(part)
    body = b"".join(parts)
    encoding = request.headers.get("content-encoding", "").lower()
    if encoding in ("gzip", "deflate"):
        # With 32 it takes both, by their first bytes: HTTP's deflate is zlib's format (RFC 9110, 8.4.1.2).
        decompressor = zlib.decompressobj(32 + zlib.MAX_WBITS)
        body = decompressor.decompress(body, MAX_MESSAGE_BYTES + 1)
        if len(body) > MAX_MESSAGE_BYTES:
            raise _TooLargeError
        if not decompressor.eof:
            raise gzip.BadGzipFile("cut off")
    elif encoding not in ("", "identity"):
        raise ValueError(f"compressed with {encoding}, and gzip and deflate are what is read here")
    return body


def _take(store: Store, body: bytes, content_type: str, signal: str) -> None:
    store.add(read_document(json.loads(body)) if "json" in content_type else parse_protobuf(body, signal))


def _length(request: Request) -> int:
    return max(1, min(int(request.query_params.get("n", "100")), _MAX_LENGTH))


def _criteria(request: Request) -> Criteria:
    get = request.query_params.get
    return Criteria(
        errors=get("errors") == "on",
        minimum=parse_duration(text) if (text := get("min")) else 0,
        device=get("device", ""),
        device_class=get("class", ""),
        operation=get("operation", ""),
        service=get("service", ""),
        text=get("text", ""),
        since=parse_time(text) if (text := get("since")) else 0,
        until=parse_time(text) if (text := get("until")) else 0,
        everything=get("all") == "on",
    )
