"""For people who test their devices: the spans of an operation as a tree to compare.

    def test_move(tango_spans):
        with DeviceTestContext(Motor) as motor:
            tango_spans.clear()
            motor.command_inout("Move", 3.0)
        assert tango_spans.text() == '''
    command_inout Move
      Motor.Move
    '''

``tango_spans`` is a pytest fixture that comes with this package. Needs ``opentelemetry-sdk``.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.otel.api import TracerProvider
from tango_telemetry.providers.tracers import get_tracer_provider_factory, set_tracer_provider_factory
from tango_telemetry.settings.config import Endpoint, TelemetryConfig
from tango_telemetry.state import get_config, state

__all__ = ["SpanNode", "SpanRecorder"]

_INSTRUMENTORS = {
    "tango_telemetry_client": "TangoClientInstrumentor",
    "tango_telemetry_server": "TangoServerInstrumentor",
}


def _load_instrumentors() -> list[Any]:
    """The instrumentors that are installed."""
    found = []
    for module, name in _INSTRUMENTORS.items():
        with contextlib.suppress(ImportError):
            found.append(getattr(importlib.import_module(module), name)())
    return found


@dataclass(frozen=True)
class SpanNode:
    """One finished span and what happened within it.

    ``kind`` is ``CLIENT``, ``SERVER``, ``INTERNAL``...; ``status`` is ``UNSET``, ``OK`` or ``ERROR``;
    ``service`` is the device class or the client's name. ``children`` stand in the order in which they began.
    """

    name: str
    kind: str
    status: str
    service: str
    attributes: Mapping[str, Any]
    events: tuple[str, ...]
    children: tuple[SpanNode, ...]

    def walk(self) -> Iterator[SpanNode]:
        """Return this span and all below it, each before its children."""
        yield self
        for child in self.children:
            yield from child.walk()

    def names(self) -> tuple[Any, ...]:
        """Return the names alone: ``(name, (names of a child), ...)``."""
        return (self.name, *(child.names() for child in self.children))

    def text(self, indentation: str = "") -> str:
        """Return one line for each span, indented by two spaces per level; a failed one ends in ``!
        error.type``.
        """
        failed = f" ! {self.attributes.get('error.type', '')}".rstrip() if self.status == "ERROR" else ""
        below = "".join(child.text(f"{indentation}  ") for child in self.children)
        return f"{indentation}{self.name}{failed}\n{below}"


class SpanRecorder:
    """Records the spans of this process in memory, from ``__enter__`` to ``__exit__``.

    Switches both instrumentors on that are installed, and off again those that were off. While it records
    nothing is sent anywhere, whatever the environment says.

    :param config: settings to record with; ``endpoints`` are ignored
    :raises MissingPackageError: on entering, if ``opentelemetry-sdk`` is not installed
    """

    def __init__(self, config: TelemetryConfig | None = None) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._spans: list[Any] = []
        self._switched_on: list[Any] = []
        self._undo: list[Any] = []

    def __enter__(self) -> SpanRecorder:
        sdk = otel_sdk.load_sdk()
        recorder = self
        base: Any = sdk.SpanProcessor

        class Recording(base):  # type: ignore[misc]
            def on_end(self, span: Any) -> None:
                with recorder._lock:
                    recorder._spans.append(span)

        def create(
            service_name: str,
            service_instance_id: str | None = None,
            extra_resource_attributes: dict[str, str] | None = None,
            endpoints: tuple[Endpoint, ...] | None = None,
        ) -> TracerProvider:
            resource = otel_sdk.create_resource(
                {"service.name": service_name, **(extra_resource_attributes or {})}
            )
            provider = otel_sdk.create_recording_provider(resource)
            provider.add_span_processor(Recording())
            made: TracerProvider = provider
            return made

        # Before our settings are in force: their import switches them on where the settings say so, the
        # user's only.
        instrumentors = _load_instrumentors()
        before = (get_tracer_provider_factory(), state.tracer_provider, get_config())
        settings = self._config or TelemetryConfig(enabled=True)
        state.tracer_provider = None
        state.apply(settings)
        set_tracer_provider_factory(create)
        self._undo.append(before)
        for instrumentor in instrumentors:
            if not instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.instrument(config=settings)
                self._switched_on.append(instrumentor)
        self.clear()
        return self

    def __exit__(self, *error: object) -> None:
        while self._switched_on:
            self._switched_on.pop().uninstrument()
        factory, state.tracer_provider, config = self._undo.pop()
        state.apply(config)
        set_tracer_provider_factory(factory)

    def clear(self) -> None:
        """Forget the spans so far."""
        with self._lock:
            self._spans.clear()

    @property
    def spans(self) -> Sequence[Any]:
        """The finished spans so far, as the SDK's ``ReadableSpan``, in the order in which they ended."""
        with self._lock:
            return tuple(self._spans)

    def trees(self) -> tuple[SpanNode, ...]:
        """Return the spans so far as trees, in the order in which they began; a span without its parent is a
        root.
        """
        spans = sorted(self.spans, key=lambda span: span.start_time)
        known = {span.context.span_id for span in spans}
        children: dict[int, list[Any]] = {}
        for span in spans:
            parent = span.parent.span_id if span.parent is not None else 0
            children.setdefault(parent if parent in known else 0, []).append(span)

        def build(span: Any) -> SpanNode:
            return SpanNode(
                name=span.name,
                kind=span.kind.name,
                status=span.status.status_code.name,
                service=str(span.resource.attributes.get("service.name", "")),
                attributes=dict(span.attributes or {}),
                events=tuple(event.name for event in span.events),
                children=tuple(build(child) for child in children.get(span.context.span_id, ())),
            )

        return tuple(build(root) for root in children.get(0, ()))

    def text(self) -> str:
        """Return all trees as indented lines (see :meth:`SpanNode.text`), after an empty first line.

        The empty line lets a test compare it with a text in triple quotes that begins on a line of its own.
        """
        return "\n" + "".join(tree.text() for tree in self.trees())

    def find(self, name: str) -> SpanNode:
        """Return the only span of this name.

        :raises LookupError: if there is none, or more than one
        """
        found = [node for tree in self.trees() for node in tree.walk() if node.name == name]
        if len(found) != 1:
            raise LookupError(f"{len(found)} spans are named {name!r}; recorded:{self.text()}")
        return found[0]
