"""Makes spans of the SDK sendable, item by item: what cannot be encoded costs itself and nothing beside it.

The SDK takes texts with lone surrogates (every file name that `os.fsdecode` could not decode has them), times
that are no integers, integers beyond 64 bits and identifiers beyond theirs. The official encoders answer with
an exception for the whole request, or leave the attribute out with a traceback in the log (OpenTelemetry
1.45). What replaces such a value follows OpenTelemetry's "mapping to AnyValue": text for an integer that is
too large, U+FFFD for a surrogate.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tango_telemetry.base.guard import guarded
from tango_telemetry.base.texts import encodable
from tango_telemetry.otel import sdk as otel_sdk

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan

_logger = logging.getLogger("tango_telemetry.pipeline")
_REPLACEMENT = "\ufffd"
# Protobuf's parsers refuse a message that is nested deeper than 100, and an AnyValue in a list takes three
# levels.
_DEEPEST = 24
_MAX_REMEMBERED = 4096
_MAX_SAID = 64
_said: set[str] = set()


class _Event(NamedTuple):
    """What the encoders read of an event."""

    name: str
    timestamp: int
    attributes: Mapping[str, Any]
    dropped_attributes: int


class _Link(NamedTuple):
    """What the encoders read of a link."""

    context: Any
    attributes: Mapping[str, Any]
    dropped_attributes: int


@lru_cache(maxsize=1)
def _span_class() -> Any:
    readable: Any = otel_sdk.load_sdk().ReadableSpan

    class MendedSpan(readable):  # type: ignore[misc]
        """A finished span with other contents, which dropped as much as the original."""

        dropped_attributes = 0
        dropped_events = 0
        dropped_links = 0

    return MendedSpan


def _say(place: str, span: Any) -> None:
    """Warn once for each place of a bad value, for a bounded number of places."""
    if place in _said or len(_said) >= _MAX_SAID:
        return
    _said.add(place)
    _logger.warning(
        "tango-telemetry: not all of the %s of the span %.100r can be sent as given (text that is not "
        "Unicode, a number or"
        " time out of range); what cannot is replaced, with U+FFFD in texts, and the rest of the span is "
        "sent",
        place.replace("_", " "),
        getattr(span, "name", ""),
    )


def is_encodable(text: str) -> bool:
    """Whether `text` has UTF-8, that is no lone surrogate."""
    return encodable(text) is text


def mend_text(value: Any) -> str:
    """`value` as a text that has UTF-8; the same object where it is one."""
    if not isinstance(value, str):
        value = guarded(str, value)
        if not isinstance(value, str):
            return _REPLACEMENT
    return encodable(value)


def _mend_time(value: Any) -> int | None:
    """Nanoseconds since 1970 that fit into OTLP's unsigned 64 bits.

    Users pass `time.time() * 1e9`, a float.
    """
    if value is None or (type(value) is int and 0 <= value < 2**64):
        return value
    try:
        return min(max(int(value), 0), 2**64 - 1)
    except (TypeError, ValueError, OverflowError):  # no number at all; not a number; infinity
        return 0


def _integer_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no more than 4,300 digits
        return _REPLACEMENT


def _is_context(context: Any) -> bool:
    """Whether the ids of a span context fit into OTLP's fields."""
    trace_id, span_id = getattr(context, "trace_id", None), getattr(context, "span_id", None)
    return (
        isinstance(trace_id, int)
        and isinstance(span_id, int)
        and 0 <= trace_id < 2**128
        and 0 <= span_id < 2**64
    )


class Mender:
    """Gives each span as it is, or a copy without what cannot be encoded.

    bytes_as_text: for encoders whose JSON has no bytes, as the SDK's console format (1.45).
    """

    def __init__(self, bytes_as_text: bool = False) -> None:
        self._bytes_as_text = bytes_as_text
        # By identity, because resources and scopes are few and live long; the original is kept alive beside
        # its copy.
        self._remembered: dict[int, tuple[Any, Any]] = {}

    def mend_all(self, spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
        """Each span, mended."""
        return [self.mend(span) for span in spans]

    def mend(self, span: ReadableSpan) -> ReadableSpan:
        """`span` itself if every item of it can be encoded."""
        # Each is read once: some of these properties give another object each time.
        old: dict[str, Any] = {
            "resource": span.resource,
            "instrumentation_scope": span.instrumentation_scope,
            "name": span.name,
            "start_time": span.start_time,
            "end_time": span.end_time,
            "attributes": span.attributes,
            "events": span.events,
            "links": span.links,
            "status": span.status,
        }
        new: dict[str, Any] = {
            "resource": self._recall(old["resource"], self._mend_resource),
            "instrumentation_scope": self._recall(old["instrumentation_scope"], self._mend_scope),
            "name": mend_text(old["name"]),
            "start_time": _mend_time(old["start_time"]),
            "end_time": _mend_time(old["end_time"]),
            "attributes": self._mend_attributes(old["attributes"]),
            "events": self._mend_each(old["events"], self._mend_event),
            "links": self._mend_each(old["links"], self._mend_link),
            "status": self._mend_status(old["status"]),
        }
        changed = [place for place, value in old.items() if new[place] is not value]
        if not changed:
            return span
        for place in changed:
            _say(place, span)
        mended = _span_class()(context=span.get_span_context(), parent=span.parent, kind=span.kind, **new)
        mended.dropped_attributes = span.dropped_attributes
        mended.dropped_events = span.dropped_events
        mended.dropped_links = span.dropped_links + len(old["links"]) - len(new["links"])
        return mended  # type: ignore[no-any-return]

    def _recall(self, original: Any, mend: Callable[[Any], Any]) -> Any:
        remembered = self._remembered.get(id(original))
        if remembered is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            remembered = self._remembered[id(original)] = (original, mend(original))
        return remembered[1]

    def _mend_resource(self, resource: Any) -> Any:
        old, url = resource.attributes, mend_text(resource.schema_url or "")
        attributes = self._mend_attributes(old)
        if attributes is old and url == (resource.schema_url or ""):
            return resource
        return otel_sdk.create_resource(attributes, url)

    def _mend_scope(self, scope: Any) -> Any:
        if scope is None:
            return None
        old = (scope.name, scope.version, scope.schema_url, scope.attributes)
        new = (
            *(None if text is None else mend_text(text) for text in old[:3]),
            self._mend_attributes(old[3]),
        )
        return scope if all(map(_is_same, old, new)) else type(scope)(*new)

    def _mend_status(self, status: Any) -> Any:
        text = status.description
        if text is None or (isinstance(text, str) and is_encodable(text)):
            return status
        return type(status)(status.status_code, mend_text(text))

    def _mend_each(self, items: Sequence[Any], mend: Callable[[Any], Any]) -> Sequence[Any]:
        """The same sequence if none of its items is another; None stands for one that is left out."""
        if not items:
            return items
        mended = [mend(item) for item in items]
        if all(map(_is_same, items, mended)):
            return items
        return [item for item in mended if item is not None]

    def _mend_event(self, event: Any) -> Any:
        name, time = mend_text(event.name), _mend_time(event.timestamp)
        old = event.attributes
        attributes = self._mend_attributes(old)
        if name is event.name and time is event.timestamp and attributes is old:
            return event
        return _Event(name, time or 0, attributes, event.dropped_attributes)

    def _mend_link(self, link: Any) -> Any:
        if not _is_context(link.context):
            return None
        old = link.attributes
        attributes = self._mend_attributes(old)
        return link if attributes is old else _Link(link.context, attributes, link.dropped_attributes)

    def _mend_attributes(self, attributes: Mapping[str, Any] | None) -> Any:
        if not attributes:
            return attributes
        # The SDK's mapping takes a lock and a generator for each item; its copy is a dict.
        copy = getattr(attributes, "copy", None)
        return self._mend_mapping(attributes, (attributes if copy is None else copy()).items(), 0)

    def _mend_mapping(self, mapping: Any, items: Any, depth: int) -> Any:
        mended = {}
        same = True
        for key, value in items:
            new_key, new_value = mend_text(key), self._mend_value(value, depth)
            same = same and new_key is key and new_value is value
            mended[new_key] = new_value
        return mapping if same else mended

    def _mend_value(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, str):
            return mend_text(value)
        if isinstance(value, int):
            return value if -(2**63) <= value < 2**63 else _integer_text(value)
        if isinstance(value, bytes):
            return base64.b64encode(value).decode() if self._bytes_as_text else value
        if depth >= _DEEPEST:
            return _REPLACEMENT
        if isinstance(value, Mapping):
            return self._mend_mapping(value, value.items(), depth + 1)
        if isinstance(value, Sequence):
            mended = [self._mend_value(item, depth + 1) for item in value]
            return value if all(map(_is_same, value, mended)) else mended
        return mend_text(value)


def _is_same(old: Any, new: Any) -> bool:
    return old is new
