"""Limits and samplers for the tracer provider in C++, by the environment variables and rules of the SDK.

They are read here again so that no module of the SDK is needed;
`tests/contract/test_native_spans_settings.py` holds them against the SDK's own.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.context.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

_logger = logging.getLogger("opentelemetry.sdk.trace.sampling")

_UNLIMITED = -1
_LARGEST = 2**63 - 1
_DEFAULT_COUNT = 128

NEVER, ALWAYS, RATIO, PYTHON = range(4)


@dataclass(frozen=True)
class SpanLimits:
    """How much a span may hold; None is no limit.

    The attributes are those of ``opentelemetry.sdk.trace.SpanLimits``.
    """

    max_span_attributes: int | None = _DEFAULT_COUNT
    max_event_attributes: int | None = _DEFAULT_COUNT
    max_link_attributes: int | None = _DEFAULT_COUNT
    max_events: int | None = _DEFAULT_COUNT
    max_links: int | None = _DEFAULT_COUNT
    max_attribute_length: int | None = None
    max_span_attribute_length: int | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> SpanLimits:
        """The limits that ``OTEL_SPAN_*``, ``OTEL_EVENT_*``, ``OTEL_LINK_*`` and ``OTEL_ATTRIBUTE_*`` set.

        Raises ValueError for a limit that is not a non-negative integer, as the SDK does.
        """

        def read(variable: str, default: int | None) -> int | None:
            if variable not in environ:
                return default
            text = environ[variable].strip().lower()
            if not text:
                return None
            try:
                value = int(text)
            except ValueError:
                value = -1
            if value < 0:
                raise ValueError(f"{variable} must be a non-negative integer but got {text}")
            return value

        # An empty global limit falls back to the defaults, an empty specific one lifts the limit.
        count = read("OTEL_ATTRIBUTE_COUNT_LIMIT", None)
        count = _DEFAULT_COUNT if count is None else count
        length = read("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", None)
        return cls(
            max_span_attributes=read("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count),
            max_event_attributes=read("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count),
            max_link_attributes=read("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", count),
            max_events=read("OTEL_SPAN_EVENT_COUNT_LIMIT", _DEFAULT_COUNT),
            max_links=read("OTEL_SPAN_LINK_COUNT_LIMIT", _DEFAULT_COUNT),
            max_attribute_length=length,
            max_span_attribute_length=read("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", length),
        )


def encode_limits(limits: Any) -> tuple[int, int, int, int, int, int, int]:
    """Limits, ours or the SDK's, as the C++ types take them."""

    def number(value: int | None) -> int:
        return _UNLIMITED if value is None else min(value, _LARGEST)

    return (
        number(limits.max_span_attributes),
        number(limits.max_event_attributes),
        number(limits.max_link_attributes),
        number(limits.max_events),
        number(limits.max_links),
        number(limits.max_attribute_length),
        number(limits.max_span_attribute_length),
    )


@dataclass(frozen=True)
class SamplerRule:
    """A sampler as the C++ types take it: what decides about roots, and whether a parent decides
    before that.
    """

    root: int = ALWAYS
    parent_based: bool = True
    bound: int = 0
    sampler: Any = None

    @classmethod
    def ratio(cls, rate: float, parent_based: bool) -> SamplerRule:
        """``TraceIdRatioBased(rate)``, by its bound. Raises ValueError for a rate outside of 0 to 1."""
        if not 0.0 <= rate <= 1.0:
            raise ValueError("Probability must be in range [0.0, 1.0].")
        bound = round(rate * 2**64)
        if bound >= 2**64:  # every id is below it, and it does not fit into 64 bits
            return cls(ALWAYS, parent_based)
        return cls(RATIO, parent_based, bound)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> SamplerRule:
        """What ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG`` name; by default
        ``parentbased_always_on``.
        """
        name = environ.get("OTEL_TRACES_SAMPLER", "parentbased_always_on").lower()
        root = name.removeprefix("parentbased_")
        if root not in ("always_on", "always_off", "traceidratio"):
            _logger.warning("Couldn't recognize sampler %s.", name)
            return cls()
        parent_based = root != name
        if root == "traceidratio":
            try:
                return cls.ratio(float(environ.get("OTEL_TRACES_SAMPLER_ARG", "")), parent_based)
            except ValueError:
                _logger.warning("Could not convert TRACES_SAMPLER_ARG to float. Using default rate 1.0.")
                return cls(ALWAYS, parent_based)
        return cls(ALWAYS if root == "always_on" else NEVER, parent_based)

    @classmethod
    def from_sampler(cls, sampler: Any) -> SamplerRule:
        """One of the SDK's own samplers as a rule in C++; any other sampler as a callback.

        What a sampler of the SDK does is told by its description, which is public.
        """
        if type(sampler).__module__ == "opentelemetry.sdk.trace.sampling":
            rule = cls._from_description(sampler.get_description())
            if rule is not None and not _may_only_record(sampler):
                return rule
        return cls(PYTHON, False, 0, sampler)

    @classmethod
    def _from_description(cls, description: str) -> SamplerRule | None:
        match = re.fullmatch(_PARENT_BASED, description)
        root = match["root"] if match else description
        parent_based = match is not None
        if root in ("AlwaysOnSampler", "AlwaysOffSampler"):
            return cls(ALWAYS if root == "AlwaysOnSampler" else NEVER, parent_based)
        ratio = re.fullmatch(_RATIO, root)
        return cls.ratio(float(ratio["rate"]), parent_based) if ratio else None


def _may_only_record(sampler: Any) -> bool:
    """Whether it has spans recorded that are not sampled: the description of ``StaticSampler(RECORD_ONLY)``
    is ALWAYS_ON's.
    """
    contexts = [Context()]
    for remote in (False, True):
        for flags in (TraceFlags.DEFAULT, TraceFlags.SAMPLED):
            parent = NonRecordingSpan(SpanContext(1, 1, remote, TraceFlags(flags)))
            contexts.append(set_span_in_context(parent, Context()))
    decisions = [sampler.should_sample(context, 1, "").decision for context in contexts]
    return any(decision.is_recording() and not decision.is_sampled() for decision in decisions)


_RATIO = r"TraceIdRatioBased\{(?P<rate>[0-9.e+-]+)\}"
_PARENT_BASED = (
    r"ParentBased\{root:(?P<root>.+?),remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,"
    r"localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler\}"
)
