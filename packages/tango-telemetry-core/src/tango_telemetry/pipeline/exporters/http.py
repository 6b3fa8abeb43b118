"""OTLP over HTTP: one POST per attempt. The official exporter's own retry loop can neither be interrupted nor
told a bound, so the payload of its encoder is sent from here, by the library that it uses itself.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.delivery import Outcome, Result
from tango_telemetry.pipeline.exporters.halves import halve
from tango_telemetry.pipeline.exporters.otlp import ProtobufEncoder, read_answer
from tango_telemetry.pipeline.redact import clean_text, redact_url, secrets_of
from tango_telemetry.pipeline.settings import WireSettings
from tango_telemetry.pipeline.signals import TRACES, Signal

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan

# Answers about the data, which will be the same tomorrow: malformed, too large, not processable. Every other
# status is one about the place: OTLP names 429, 502, 503 and 504 as retryable, and 401, 403, 404, 405, 407,
# 415, redirects and 5xx come from proxies, from gateways that lack their backend or a token, and from
# collectors that are being set up.
_ABOUT_THE_DATA = frozenset((400, 413, 422))
# zlib's window bits say which format comes out; the module gzip brings more than it does here.
_WINDOW_BITS = {"deflate": 15, "gzip": 31}
# An answer has a few bytes: how many spans were refused, and why. One that has no end must not fill the
# memory.
_MAX_ANSWER = 65536


def parse_retry_after(value: str | None) -> float:
    """Seconds asked for by a Retry-After header (RFC 9110: a number or a date), at most one hour; 0
    if none.
    """
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            from email.utils import parsedate_to_datetime  # requests has it loaded

            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), 3600.0) if seconds == seconds else 0.0


def _cause(error: BaseException) -> str:
    """What the operating system or TLS said at the root of an exception of `requests`; "" if neither did.

    Texts of `requests` and urllib3 themselves are left out: they quote URLs.
    """
    seen: list[BaseException] = []
    queue: list[Any] = [error]
    while queue and len(seen) < 16:
        item = queue.pop(0)
        if not isinstance(item, BaseException) or item in seen:
            continue
        seen.append(item)
        if text := getattr(item, "verify_message", None) or getattr(item, "strerror", None):
            name = getattr(item, "filename", None)
            return f"{text}: {name}" if name else str(text)
        # Of http.client about a proxy, or of requests about the file of a certificate.
        if type(item) is OSError:
            return str(item)
        queue += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return ""


def _is_of_a_proxy(content_type: str, body: bytes) -> bool:
    """Whether a 400 is about the connection: proxies answer with a page, servers in Go that HTTPS is spoken
    here.
    """
    return "html" in content_type.lower() or (b"HTTPS" in body and b"HTTP request" in body)


class HttpExporter:
    """Sends OTLP protobuf over HTTP on one kept-alive connection."""

    spoolable = True
    chunk_spans = 16

    def __init__(self, url: str, wire: WireSettings, signal: Signal = TRACES) -> None:
        otel_sdk.find_exporter("http")
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # whose text may quote a password
            good = False
        if not good:
            raise ValueError(f"not a URL of the form http://host:port{signal.path}")
        self._encoder = otel_sdk.Deferred(lambda: ProtobufEncoder(otel_sdk.load_encoder("http")))
        self._requests = otel_sdk.Deferred(lambda: otel_sdk.load_transport("http")[0])
        self._url = url
        self._compression = wire.compression
        self._headers = {"Content-Type": "application/x-protobuf", **dict(wire.headers)}
        if wire.compression in ("gzip", "deflate"):
            self._headers["Content-Encoding"] = wire.compression
        self._verify: str | bool = wire.certificate_file or True
        self._certificate: Any = None
        if wire.client_certificate_file:
            self._certificate = (
                (wire.client_certificate_file, wire.client_key_file)
                if wire.client_key_file
                else wire.client_certificate_file
            )
        self._secrets = secrets_of(url, wire.headers)
        self._session: Any = None
        self._request: Any = None
        self._options: dict[str, Any] = {}
        self._proxy = ""

    def prepare(self, encoding: bool) -> None:
        self._requests()
        if encoding:
            self._encoder()

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        return self._encoder().encode(spans)  # type: ignore[no-any-return]

    def transcode(self, resource_spans: bytes) -> bytes:
        return resource_spans

    def halve(self, payload: bytes, items: int) -> Sequence[tuple[bytes, int]]:
        return halve(payload, items)

    def _compress(self, payload: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self._compression)
        if bits is None:
            return payload
        compressor = zlib.compressobj(1, zlib.DEFLATED, bits)
        return compressor.compress(payload) + compressor.flush()

    def _connect(self, requests: Any) -> None:
        """Make the request that all are copies of: proxies, netrc and headers are looked up once, not 0.7 ms
        each time.
        """
        from http.cookiejar import DefaultCookiePolicy  # requests has it loaded

        session = requests.Session()
        session.stream = True  # the answer's body is read by _read_answer, within bounds
        # They would be kept, and never sent.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._request = session.prepare_request(
            requests.Request("POST", self._url, headers=self._headers, data=b"-")
        )
        self._options = session.merge_environment_settings(
            self._request.url, {}, None, self._verify, self._certificate
        )
        # What the environment and .netrc add: a proxy's user info, a user's password.
        proxy = requests.utils.select_proxy(self._request.url, self._options["proxies"]) or ""
        self._proxy = redact_url(proxy) if proxy else ""
        self._secrets = (*secrets_of(proxy, self._request.headers.items()), *self._secrets)
        self._session = session

    def send(self, payload: bytes, timeout: float) -> Outcome:
        requests = self._requests()
        try:
            if self._session is None:
                self._connect(requests)
            request = self._request.copy()
            request.prepare_body(self._compress(payload), None)
            deadline = time.monotonic() + timeout
            response = self._session.send(request, timeout=timeout, allow_redirects=False, **self._options)
            peer = self._peer(response)
            answer = self._read_answer(requests, response, deadline)
        except (requests.RequestException, OSError, ValueError) as error:
            # The exception's text quotes the URL or a header (UnicodeEncodeError), which may hold
            # credentials: its class and what the operating system or TLS said are enough.
            self.close()
            detail = clean_text(_cause(error), self._secrets)
            return Outcome(Result.RETRY, type(error).__name__, detail=detail, peer=self._asked())
        return self._judge(response, answer, peer)

    def _judge(self, response: Any, body: bytes, peer: str) -> Outcome:
        """What an answer means. `body` is what was read of it."""
        status, headers = response.status_code, response.headers
        reason = f"HTTP status {status}"
        content_type = headers.get("Content-Type", "")
        if 200 <= status < 300:
            answer = read_answer(body, content_type)
            if answer is not None:
                return Outcome(
                    Result.DELIVERED,
                    rejected_spans=answer.rejected_spans,
                    detail=clean_text(answer.message, self._secrets),
                    peer=peer,
                )
            reason += ", but no answer that a collector gives"
        detail = self._words_of(content_type, body)
        if location := headers.get("Location", ""):
            detail = f"redirected to {clean_text(redact_url(location), self._secrets)} {detail}".strip()
        if status in _ABOUT_THE_DATA and not (status == 400 and _is_of_a_proxy(content_type, body)):
            return Outcome(Result.REJECTED, reason, detail=detail, peer=peer)
        retry_after = parse_retry_after(headers.get("Retry-After"))
        return Outcome(Result.RETRY, reason, retry_after, detail=detail, peer=peer, doubtful=status == 500)

    def _words_of(self, content_type: str, body: bytes) -> str:
        """What a server says about an error: the text of OTLP's `Status` message, or of a page."""
        if "protobuf" in content_type.lower():
            status = otel_sdk.load("google.rpc.status_pb2", "reading an answer").Status
            try:
                return clean_text(status.FromString(body).message, self._secrets)
            except otel_sdk.load("google.protobuf.message", "reading an answer").DecodeError:
                pass
        return clean_text(body, self._secrets)

    def _asked(self) -> str:
        """Who is asked: a host and port, or the proxy before it."""
        parts = urlsplit(self._url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = f"{parts.hostname}:{port}"
        return f"{host} by the proxy {self._proxy}" if self._proxy else host

    def _peer(self, response: Any) -> str:
        """Who answered: the address at the other end of the connection, which is a proxy's where there is
        one.
        """
        # requests and urllib3 show it nowhere; what they call `_connection` has been the same since urllib3
        # 1.
        connection: Any = getattr(response.raw, "_connection", None)
        asked = self._asked()
        try:
            address = connection.sock.getpeername()[:2]
        except (AttributeError, OSError, TypeError):
            return asked
        text = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
        return asked if text == asked else f"{asked} ({text})"

    def _read_answer(self, requests: Any, response: Any, deadline: float) -> bytes:
        """The body of an answer; what was read so far if it is too long or not encoded as its headers say."""
        answer: bytes = b""
        try:
            with response:  # which closes the connection if there is more to come
                for part in response.iter_content(64):
                    answer += part
                    if time.monotonic() > deadline:
                        raise requests.ReadTimeout
                    if len(answer) > _MAX_ANSWER:
                        return answer
        except requests.exceptions.ContentDecodingError:
            return answer or b"not encoded as its headers say"
        return answer

    def reset_after_fork(self) -> None:
        self._session = None  # its sockets are shared with the parent: not one byte on them from here

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
