"""Metrics of OTLP JSON: each data point by itself, histograms of both kinds as the same buckets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .model import Bucket, Point, Resource
from .otlp_values import (
    MalformedError,
    a_list,
    an_object,
    describe,
    parse_attributes,
    parse_integer,
    parse_time,
)

_KINDS = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
_CUMULATIVE = (2, "2", "AGGREGATION_TEMPORALITY_CUMULATIVE")
_NO_RECORDED_VALUE = 1


def parse_metric(metric: Mapping[str, Any], resource: Resource, scope: str) -> Iterator[Point]:
    """Yield the data points of one metric. Raises MalformedError."""
    kind = next((kind for kind in _KINDS if kind in metric), None)
    if kind is None:
        return
    data = an_object(metric[kind], kind)
    # What may also go down, and is counted since a start, is what it was last, like a gauge.
    is_level = kind == "gauge" or (
        kind == "sum" and not data.get("isMonotonic") and data.get("aggregationTemporality") in _CUMULATIVE
    )
    for point in a_list(data, "dataPoints") or ():
        point = an_object(point, "dataPoint")
        if parse_integer(point.get("flags") or 0, "flags") & _NO_RECORDED_VALUE:
            continue
        value = 0.0
        buckets: tuple[Bucket, ...] = ()
        if kind in ("gauge", "sum"):
            value = _number(point.get("asDouble", point.get("asInt")), "value")
        elif kind == "histogram":
            buckets = _explicit(point)
        elif kind == "exponentialHistogram":
            buckets = _exponential(point)
        yield Point(
            name=str(metric.get("name") or ""),
            unit=str(metric.get("unit") or ""),
            description=str(metric.get("description") or ""),
            kind="gauge" if is_level else "sum" if kind == "sum" else "histogram",
            resource=resource,
            scope=scope,
            attributes=parse_attributes(point),
            start=0 if is_level else parse_time(point, "startTimeUnixNano"),
            time=parse_time(point, "timeUnixNano"),
            value=value,
            count=max(0, parse_integer(point.get("count") or 0, "count")),
            total=_number(point.get("sum") or 0, "sum"),
            longest=_number(point["max"], "max") if point.get("max") is not None else None,
            buckets=buckets,
        )


def _explicit(point: Mapping[str, Any]) -> tuple[Bucket, ...]:
    counts = [parse_integer(count, "bucketCounts") for count in a_list(point, "bucketCounts") or ()]
    bounds = [_number(bound, "explicitBounds") for bound in a_list(point, "explicitBounds") or ()]
    if counts and len(counts) != len(bounds) + 1:
        raise MalformedError(f"{len(bounds)} explicitBounds with {len(counts)} bucketCounts")
    edges = [-math.inf, *bounds, math.inf]
    return tuple(
        (lower, upper, count)
        for lower, upper, count in zip(edges, edges[1:], counts, strict=False)
        if count > 0
    )


def _exponential(point: Mapping[str, Any]) -> tuple[Bucket, ...]:
    scale = parse_integer(point.get("scale") or 0, "scale")
    if not -16 <= scale <= 32:
        raise MalformedError(f"scale is out of range: {scale}")
    zeros = parse_integer(point.get("zeroCount") or 0, "zeroCount")
    around = _number(point.get("zeroThreshold") or 0, "zeroThreshold")
    buckets = [(-around, around, zeros)] if zeros > 0 else []
    buckets += _side(point, "positive", scale)
    buckets += [(-upper, -lower, count) for lower, upper, count in _side(point, "negative", scale)]
    return tuple(buckets)


def _side(point: Mapping[str, Any], name: str, scale: int) -> Iterable[Bucket]:
    side = an_object(point.get(name) or {}, name)
    offset = parse_integer(side.get("offset") or 0, "offset")
    for number, text in enumerate(a_list(side, "bucketCounts") or ()):
        count = parse_integer(text, "bucketCounts")
        if count > 0:
            yield _power(offset + number, scale), _power(offset + number + 1, scale), count


def _power(index: int, scale: int) -> float:
    """Return the bound 2 ** (index / 2 ** scale), as the data model of OpenTelemetry's metrics has it."""
    exponent = math.ldexp(index, -scale)
    return math.inf if exponent >= 1024 else 2.0**exponent if exponent > -1100 else 0.0


def _number(value: Any, what: str) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            # "NaN" and "Infinity" come as strings, as integers of 64 bits do.
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise MalformedError(f"{what} is not a number: {describe(value)}")
