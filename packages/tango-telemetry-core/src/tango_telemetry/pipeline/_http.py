"""OTLP over HTTP: one POST per attempt. The official exporter's own retry loop can neither be interrupted nor told a
bound, so the payload of its encoder is sent from here, by the library that it uses itself."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tango_telemetry import _otel_sdk
from tango_telemetry.pipeline._delivery import Outcome, Result
from tango_telemetry.pipeline._otlp import ProtobufEncoder, rejected_spans
from tango_telemetry.pipeline._settings import WireSettings

if TYPE_CHECKING:
    from tango_telemetry._otel_sdk import ReadableSpan

# OTLP names 429, 502, 503 and 504 as retryable. 500 and 408 come from proxies and restarting collectors: the spans
# are kept for those too.
_RETRYABLE = frozenset((408, 429, 500, 502, 503, 504))
# zlib's window bits say which format comes out; the module gzip brings more than it does here.
_WINDOW_BITS = {"deflate": 15, "gzip": 31}
# An answer has a few bytes: how many spans were refused, and why. One that has no end must not fill the memory.
_MAX_ANSWER = 65536


def parse_retry_after(value: str | None) -> float:
    """Seconds asked for by a Retry-After header (RFC 9110: a number or a date), at most one hour; 0 if none."""
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


class HttpExporter:
    """Sends OTLP protobuf over HTTP on one kept-alive connection."""

    spoolable = True
    chunk_spans = 16

    def __init__(self, url: str, wire: WireSettings) -> None:
        _otel_sdk.find_exporter("http")
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # whose text may quote a password
            good = False
        if not good:
            raise ValueError("not a URL of the form http://host:port/v1/traces")
        self._encoder = _otel_sdk.Deferred(lambda: ProtobufEncoder(_otel_sdk.load_encoder("http")))
        self._requests = _otel_sdk.Deferred(lambda: _otel_sdk.load_transport("http")[0])
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
        self._session: Any = None
        self._request: Any = None
        self._options: dict[str, Any] = {}

    def prepare(self, encoding: bool) -> None:
        self._requests()
        if encoding:
            self._encoder()

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        return self._encoder().encode(spans)  # type: ignore[no-any-return]

    def transcode(self, resource_spans: bytes) -> bytes:
        return resource_spans

    def _compress(self, payload: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self._compression)
        if bits is None:
            return payload
        compressor = zlib.compressobj(1, zlib.DEFLATED, bits)
        return compressor.compress(payload) + compressor.flush()

    def _connect(self, requests: Any) -> None:
        """Make the request that all are copies of: proxies, netrc and headers are looked up once, not 0.7 ms each time."""
        from http.cookiejar import DefaultCookiePolicy  # requests has it loaded

        session = requests.Session()
        session.stream = True  # the answer's body is read by _read_answer, within bounds
        session.cookies.set_policy(
            DefaultCookiePolicy(allowed_domains=())
        )  # they would be kept, and never sent
        self._request = session.prepare_request(
            requests.Request("POST", self._url, headers=self._headers, data=b"-")
        )
        self._options = session.merge_environment_settings(
            self._request.url, {}, None, self._verify, self._certificate
        )
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
            answer = self._read_answer(requests, response, deadline)
        except (requests.RequestException, OSError, ValueError) as error:
            # The exception's text quotes the URL or a header (UnicodeEncodeError), which may hold credentials: its class
            # says enough.
            self.close()
            return Outcome(Result.RETRY, type(error).__name__)
        status = response.status_code
        if 200 <= status < 300:
            return Outcome(Result.DELIVERED, rejected_spans=rejected_spans(answer))
        reason = f"HTTP status {status}"
        if status in _RETRYABLE:
            return Outcome(Result.RETRY, reason, parse_retry_after(response.headers.get("Retry-After")))
        return Outcome(Result.REJECTED, reason)

    def _read_answer(self, requests: Any, response: Any, deadline: float) -> bytes:
        """The body of an answer; empty if it is too long or not what its headers say. The status holds all the same."""
        answer = b""
        try:
            with response:  # which closes the connection if there is more to come
                for part in response.iter_content(64):
                    answer += part
                    if time.monotonic() > deadline:
                        raise requests.ReadTimeout
                    if len(answer) > _MAX_ANSWER:
                        return b""
        except requests.exceptions.ContentDecodingError:
            return b""
        return answer

    def reset_after_fork(self) -> None:
        self._session = None  # its sockets are shared with the parent: not one byte on them from here

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
