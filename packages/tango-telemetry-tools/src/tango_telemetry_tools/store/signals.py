"""What is asked of the store about logs and metrics, and about links between spans."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..viewer.model import ERROR_SEVERITY, Bucket, LogRecord, Relation
from .columns import attributes_of, trace_id
from .criteria import Criteria, matcher, text_test
from .database import Store

_MAX_TIME = (1 << 63) - 1
# Whoever logs in a loop must not fill the page of a trace.
MAX_LOGS_OF_A_TRACE = 5000


def find_logs(
    store: Store, criteria: Criteria, limit: int = 0, trace: str = ""
) -> tuple[list[LogRecord], int]:
    """Return log records, the newest first, at most `limit` (0: all), and how many fit.

    Of `criteria` what can be said of a record counts: `errors`, `device`, `service`, `text`, `since`,
    `until`.
    """
    tests = ["true"]
    parameters: list[Any] = []
    if trace:
        number = int(trace, 16)
        tests.append("lo = ? and hi = ?")
        parameters += [number & 0xFFFFFFFFFFFFFFFF, number >> 64]
    if criteria.since or criteria.until:
        tests.append("time between ? and ?")
        parameters += [min(criteria.since, _MAX_TIME), min(criteria.until or _MAX_TIME, _MAX_TIME)]
    if criteria.errors:
        tests.append(f"severity >= {ERROR_SEVERITY}")
    if criteria.service:
        tests.append("resource in (select unnest(?::integer[]))")
        parameters.append(store.resources_of(matcher(criteria.service)))
    if criteria.device:
        names = [name for (name,) in store.query("select distinct device from logs")]
        fits = matcher(criteria.device)
        tests.append("device in (select unnest(?::varchar[]))")
        parameters.append([name for name in names if fits(name)])
    if criteria.text:
        test, more = text_test(criteria.text)
        tests.append(test)
        parameters += more
    where = " and ".join(tests)
    rows = store.query(
        "select hi, lo, span, time, severity, resource, detail, count(*) over () from logs "
        f"where {where} order by time desc {f'limit {int(limit)}' if limit else ''}",
        parameters,
    )
    resources = store.resources({row[5] for row in rows})
    records = []
    for hi, lo, span, time, severity, resource, detail, _ in rows:
        level, body, scope, event, attributes = json.loads(detail)
        records.append(
            LogRecord(
                time=time,
                severity=severity,
                level=level,
                body=body,
                trace_id=trace_id(hi, lo) if hi or lo else "",
                span_id=f"{span:016x}" if span else "",
                resource=resources[resource],
                scope=scope,
                event=event,
                attributes=attributes_of(attributes),
            )
        )
    return records, rows[0][7] if rows else 0


def logs_of_trace(store: Store, trace: str) -> list[LogRecord]:
    """Return the records of one trace, the earliest first, at most MAX_LOGS_OF_A_TRACE."""
    return find_logs(store, Criteria(), MAX_LOGS_OF_A_TRACE, trace)[0][::-1]


@dataclass(frozen=True)
class Metric:
    """One line of the table of metrics.

    `kind` is "gauge", "sum" or "histogram"; `source` a service, of a gauge the device where there is one;
    `member` the Tango class and member ("Motor/Move") where the metric is about one. Of a histogram `value`
    is None, and `p50`, `p95` and `longest` are estimates from its buckets, in `unit`. `errors` counts what
    has an `error.type`.
    """

    name: str
    unit: str
    kind: str
    description: str
    source: str
    member: str
    labels: str
    time: int
    value: float | None = None
    count: int = 0
    errors: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    longest: float = 0.0
    buckets: tuple[Bucket, ...] = ()


class _Sum:
    def __init__(self) -> None:
        self.description = ""
        self.time = 0
        self.value = self.total = self.longest = 0.0
        self.count = self.errors = 0
        self.buckets: dict[tuple[float, float], int] = defaultdict(int)


# Said by all of Tango's metrics.
_NOT_TOLD = frozenset({"rpc.method", "rpc.system", "rpc.system.name"})


def metrics(store: Store, criteria: Criteria = Criteria()) -> list[Metric]:
    """Return the metrics, of all processes with the same service together; gauges each for itself.

    Of `criteria` these count: `device`, `service`, `text` (in names and labels), `device_class` and
    `operation` (in "Class/member").
    """
    rows = store.query("select series, resource, time, detail from points order by time")
    resources = store.resources({row[1] for row in rows})
    sums: dict[tuple[str, ...], _Sum] = defaultdict(_Sum)
    for series, number, time, detail in rows:
        name, unit, kind, _, pairs = json.loads(series)
        description, value, count, total, longest, buckets = json.loads(detail)
        attributes = dict(attributes_of(pairs))
        failed = kind != "gauge" and attributes.pop("error.type", None) is not None
        resource = resources[number]
        device = resource.instance if resource.instance.count("/") == 2 else ""
        source = (device or resource.service) if kind == "gauge" else resource.service
        member = str(attributes.get("rpc.method", ""))
        if member and "tango.device.class" in attributes and "/" not in member:
            member = f"{attributes.pop('tango.device.class')}/{member}"
        labels = ", ".join(
            f"{key}={value}" for key, value in sorted(attributes.items()) if key not in _NOT_TOLD
        )
        key = (name, unit, kind, source, member, labels)
        if not _fits(criteria, key, device or source):
            continue
        line = sums[key]
        line.description, line.time = description or line.description, max(time, line.time)
        line.value = value if kind == "gauge" else line.value + value
        amount = count if kind == "histogram" else int(value) if math.isfinite(value) else 0
        line.count += count
        line.errors += amount if failed else 0
        line.total += total
        line.longest = max(line.longest, longest or 0.0)
        for lower, upper, number in buckets:
            line.buckets[lower, upper] += number
    return [_metric(key, sums[key]) for key in sorted(sums)]


def _fits(criteria: Criteria, key: tuple[str, ...], device: str) -> bool:
    name, _, _, source, member, labels = key
    tango_class, _, operation = member.partition("/")
    return all(
        matcher(pattern)(text)
        for pattern, text in (
            (criteria.device, device),
            (criteria.service, source),
            (criteria.device_class, tango_class),
            (criteria.operation, operation),
            (criteria.text, f"{name} {source} {member} {labels}"),
        )
        if pattern
    )


def _metric(key: tuple[str, ...], line: _Sum) -> Metric:
    name, unit, kind, source, member, labels = key
    buckets = tuple((lower, upper, count) for (lower, upper), count in sorted(line.buckets.items()))
    histogram = kind == "histogram"
    longest = line.longest or (_finite(buckets[-1]) if buckets else 0.0)
    return Metric(
        name,
        unit,
        kind,
        line.description,
        source,
        member,
        labels,
        line.time,
        value=None if histogram else line.value,
        count=line.count,
        errors=line.errors,
        mean=line.total / line.count if line.count else 0.0,
        p50=quantile(buckets, 0.5, longest),
        p95=quantile(buckets, 0.95, longest),
        longest=longest,
        buckets=buckets,
    )


def quantile(buckets: Iterable[Bucket], share: float, longest: float) -> float:
    """Return the value below which `share` of all lie, as if they were spread evenly within each bucket."""
    buckets = tuple(buckets)
    wanted = share * sum(count for _, _, count in buckets)
    for lower, upper, count in buckets:
        if wanted <= count:
            # The outermost buckets have no end of their own.
            begin = max(0.0, min(0.0, upper)) if math.isinf(lower) else lower
            end = longest if math.isinf(upper) else min(upper, longest) if longest > begin else upper
            return begin + max(0.0, end - begin) * wanted / count if count else begin
        wanted -= count
    return longest


def _finite(bucket: Bucket) -> float:
    lower, upper, _ = bucket
    return upper if math.isfinite(upper) else lower if math.isfinite(lower) else 0.0


# One event may have many subscribers; a page need not list more.
MAX_RELATIONS = 1000


def relations(store: Store, trace: str) -> list[Relation]:
    """Return the links from and to the spans of one trace, the earliest first."""
    number = int(trace, 16)
    hi, lo = number >> 64, number & 0xFFFFFFFFFFFFFFFF
    rows = store.query(
        "select * from (select true forwards, l.span mine, l.to_hi hi, l.to_lo lo, l.to_span span, l.kind, "
        "l.start"
        " from links l where l.lo = $lo and l.hi = $hi"
        " union all select false, l.to_span, l.hi, l.lo, l.span, l.kind, l.start"
        " from links l where l.to_lo = $lo and l.to_hi = $hi) order by start limit $limit",
        {"lo": lo, "hi": hi, "limit": MAX_RELATIONS},
    )
    found = _operations_of(store, {row[2:5] for row in rows})
    programs = store.programs()
    result = []
    for forwards, mine, other_hi, other_lo, other, kind, _ in rows:
        about = ("", "")
        if (other_span := found.get((other_hi, other_lo, other))) is not None:
            o, resource = store.operations[other_span[0]], other_span[1]
            about = (o.name, o.instance or programs.get(resource) or o.service)
        result.append(
            Relation(f"{mine:016x}", forwards, kind, trace_id(other_hi, other_lo), f"{other:016x}", *about)
        )
    return result


def _operations_of(store: Store, keys: Iterable[Any]) -> dict[tuple[int, int, int], tuple[int, int]]:
    keys = list(keys)
    if not keys:
        return {}
    rows = store.query(
        "select hi, lo, span, operation, resource from spans where span in (select unnest(?::ubigint[]))"
        " and lo in (select unnest(?::ubigint[]))",
        [[span for _, _, span in keys], [lo for _, lo, _ in keys]],
    )
    return {(hi, lo, span): (operation, resource) for hi, lo, span, operation, resource in rows}
