"""What is asked of the store. Each question is one or two passes over the columns that it needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from .columns import trace_id
from .criteria import Criteria, matcher, text_test
from .database import Store
from .spans import Operation

_ORDERS = {
    "start": "begins desc",
    "duration": "ends - begins desc, begins desc",
    "spans": "number desc, begins desc",
    "errors": "failed desc, begins desc",
}
_MAX_TIME = (1 << 63) - 1


@dataclass(frozen=True)
class TraceSummary:
    """One line of a list of traces.

    Times are nanoseconds since 1970; `root` is None where the root is not there, `failed` the last operation
    that failed, `asked` the device that somebody asked for, "" where nobody did.
    """

    trace_id: str
    start: int
    end: int
    spans: int
    errors: int
    root: Operation | None
    first: Operation
    failed: Operation | None
    services: tuple[str, ...]
    devices: tuple[str, ...]
    asked: str = ""

    @property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        return max(0, self.end - self.start)

    @property
    def name(self) -> str:
        """The root's name, or, where the root is missing, that of the earliest span, in brackets."""
        return self.root.name if self.root else f"({self.first.name})"

    @property
    def device(self) -> str:
        """The device that was asked for, else that of the root, else one that failed, else any."""
        operation = self.root or self.first
        failed = self.failed.device if self.failed else ""
        return self.asked or operation.device or operation.instance or failed or next(iter(self.devices), "")


@dataclass(frozen=True)
class Traces:
    """Some traces, of `total` that fit; `folded` more would fit but are of the kind that nobody looks for."""

    traces: tuple[TraceSummary, ...]
    total: int
    folded: int


def find_traces(store: Store, criteria: Criteria, sort: str = "start", limit: int = 0) -> Traces:
    """Return the traces that fit, at most `limit` (0: all)."""
    with store.session() as connection:
        where, parameters = _where(criteria)
        having = "true"
        matching, chosen = "select 0 hi, 0 lo where false", "true"
        if criteria.of_spans or criteria.errors:
            matching, more = _matching(store, criteria)
            # Half of the id is quicker to look up in all spans, and only traces that share it are left to
            # check.
            where += " and lo in (select lo from matching)"
            chosen = "(hi, lo) in (select hi, lo from matching)"
            parameters = [*more, *parameters]
        elif criteria.minimum:
            having = f"max(start + duration) - min(start) >= {int(criteria.minimum)}"
        kept = "true" if criteria.everything else _NOT_FOLDED
        # A trace that somebody asks for by what it does is not folded away.
        kept = "true" if criteria.operation else kept
        rows = connection.execute(
            f"""
            with matching as materialized ({matching}), grouped as (
                select hi, lo, min(start) begins, max(start + duration) ends, count(*) number,
                    count_if(error) failed, {kept} kept
                from spans where {where} group by hi, lo having {having}
            ), traces as (select * from grouped where {chosen}),
            numbers as (select count_if(kept) shown, count_if(not kept) hidden from traces)
            select hi, lo, shown, hidden from (
                select hi, lo, begins, ends, number, failed from traces where kept
                order by {_ORDERS[sort]} {f"limit {int(limit)}" if limit else ""}
            ) right join numbers on true order by {_ORDERS[sort]}
            """,
            parameters,
        ).fetchall()
        keys = [(hi, lo) for hi, lo, _, _ in rows if hi is not None]
        # Counts of nothing are NULL.
        total, folded = (rows[0][2] or 0, rows[0][3] or 0) if rows else (0, 0)
        return Traces(tuple(_summaries(store, connection, keys, criteria.device)), total, folded)


# A root that is folded, and nothing that failed.
_NOT_FOLDED = "bool_or(error) or bool_or(parent = 0 and not folded) or not bool_or(parent = 0 or folded)"


def _where(criteria: Criteria) -> tuple[str, list[Any]]:
    if not criteria.since and not criteria.until:
        return "true", []
    return "start between ? and ?", [
        min(criteria.since, _MAX_TIME),
        min(criteria.until or _MAX_TIME, _MAX_TIME),
    ]


def _matching(store: Store, criteria: Criteria) -> tuple[str, list[Any]]:
    """The keys of traces with one span that has all that is asked of a span."""
    where, parameters = _where(criteria)
    tests = [where]
    if criteria.of_operations:
        tests.append("operation in (select unnest(?::integer[]))")
        parameters.append(criteria.choose(store.operations))
    if criteria.errors:
        tests.append("error")
    if criteria.minimum:
        tests.append(f"duration >= {int(criteria.minimum)}")
    if criteria.text:
        lowered = criteria.text.lower()
        named = [
            number
            for number, o in enumerate(store.operations)
            if any(lowered in text.lower() for text in (o.name, o.device, o.service, o.instance))
        ]
        test, more = text_test(criteria.text)
        tests.append(f"(operation in (select unnest(?::integer[])) or {test})")
        parameters += [named, *more]
    return f"select hi, lo from spans where {' and '.join(tests)}", parameters


def _summaries(
    store: Store, connection: duckdb.DuckDBPyConnection, keys: Sequence[tuple[int, int]], asked: str
) -> Iterable[TraceSummary]:
    if not keys:
        return
    rows = connection.execute(
        """
        select hi, lo, min(start), max(start + duration), count(*), count_if(error),
            arg_min(operation, start) filter (parent = 0), arg_min(operation, start),
            arg_max(operation, start) filter (error), list(distinct operation)
        from spans where lo in (select unnest(?::ubigint[])) group by hi, lo
        """,
        [[lo for _, lo in keys]],
    ).fetchall()
    found = {(row[0], row[1]): row for row in rows}
    operations = store.operations
    for key in keys:
        hi, lo, start, end, spans, errors, root, first, failed, all_of_them = found[key]
        met = [operations[number] for number in sorted(all_of_them)]
        services = dict.fromkeys([operations[first].service, *(operation.service for operation in met)])
        devices = dict.fromkeys(operation.device for operation in met if operation.device)
        yield TraceSummary(
            trace_id(hi, lo),
            start,
            end,
            spans,
            errors,
            None if root is None else operations[root],
            operations[first],
            None if failed is None else operations[failed],
            tuple(services),
            tuple(devices),
            next(filter(matcher(asked), devices), "") if asked else "",
        )


@dataclass(frozen=True)
class Row:
    """One line of `top`.

    Durations are nanoseconds; `share` is that of all time that spans of the table took.
    """

    key: tuple[str, ...]
    count: int
    errors: int
    p50: int
    p95: int
    longest: int
    total: int
    share: float = 0.0


GROUPS: dict[str, tuple[str, ...]] = {
    "": ("device", "operation"),
    "class": ("class",),
    "device": ("device",),
    "operation": ("operation",),
    "caller": ("caller", "device", "operation"),
}

# Fields of Row, of which the largest may come first.
TOP_SORTS = ("total", "count", "errors", "p50", "p95", "longest")

_STATISTICS = (
    """count(*), count_if(error), quantile_disc(duration, [0.5, 0.95]), max(duration), sum(duration)"""
)


def top(store: Store, criteria: Criteria, by: str = "") -> list[Row]:
    """Return count, errors and durations for each device and operation, or `by` one of GROUPS; most time
    first.

    A call has a span in the client and one in the server. Only the server's counts where there are any of the
    device, so that a call counts once; by caller the client's.
    """
    classes = _classes(store)
    served = {o.device for o in store.operations if o.kind == "server" and o.device}
    chosen = set(criteria.choose(store.operations)) if criteria.of_operations else None
    keys: dict[int, tuple[str, ...]] = {}
    for number, operation in enumerate(store.operations):
        if chosen is not None and number not in chosen:
            continue
        if operation.folded and not criteria.everything and not criteria.operation:
            continue
        client = operation.kind == "client"
        if by == "caller" and not client:
            continue
        if by != "caller" and client and operation.device in served:
            continue
        keys[number] = _key(operation, by, classes)
    where, parameters = _where(criteria)
    if criteria.errors:
        where += " and error"
    if criteria.minimum:
        where += f" and duration >= {int(criteria.minimum)}"
    rows = _grouped(store, keys, _STATISTICS, where, parameters, by == "caller")
    total = sum(row[5] for _, row in rows) or 1
    found = [
        Row(key, count, errors, p50, p95, longest, int(time), float(time / total))
        for key, (_, count, errors, (p50, p95), longest, time) in rows
    ]
    return sorted(found, key=lambda row: (-row.total, row.key))


def _grouped(
    store: Store,
    keys: dict[int, tuple[str, ...]],
    statistics: str,
    where: str,
    parameters: list[Any],
    of_callers: bool,
) -> list[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """Return (key, row) for all spans whose operations have the same key.

    `of_callers`: the first part of a key is a caller; of a program it is put right by what the program is
    called.
    """
    callers = {number: name for number, name in store.programs().items() if name} if of_callers else {}
    programs = list(dict.fromkeys(["", *callers.values()]))
    lines = list(dict.fromkeys(keys.values()))
    numbers = {key: number for number, key in enumerate(lines)}
    place, join, values = "m.line", "", []
    if callers:
        place = f"m.line * {len(programs)} + coalesce(r.program, 0)"
        names = "select unnest(?::integer[]) id, unnest(?::bigint[]) program"
        join = f"left join ({names}) r on spans.resource = r.id"
        values = [list(callers), [programs.index(name) for name in callers.values()]]
    rows = store.query(
        f"""
        select {place} place, {statistics} from spans
        join (select unnest(?::integer[]) id, unnest(?::bigint[]) line) m on spans.operation = m.id
        {join} where {where} group by place
        """,
        [list(keys), [numbers[key] for key in keys.values()], *values, *parameters],
    )
    found = []
    for row in rows:
        line, program = divmod(row[0], len(programs))
        key = lines[line]
        found.append(((programs[program], *key[1:]) if program else key, row))
    return found


def _key(operation: Operation, by: str, classes: dict[str, str]) -> tuple[str, ...]:
    device = operation.device or operation.instance
    about = device or operation.service
    if by == "class":
        return (operation.device_class or classes.get(device, "") or operation.service,)
    if by == "device":
        return (about,)
    if by == "operation":
        return (operation.name,)
    if by == "caller":
        return (operation.caller, about, operation.name)
    return (about, operation.name)


def _classes(store: Store) -> dict[str, str]:
    """Which class a device has: only device servers say so."""
    return {o.device: o.device_class for o in store.operations if o.device and o.device_class}


@dataclass(frozen=True)
class Edge:
    """`caller` calls `callee`: how often, how often in vain, and the 95th percentile in nanoseconds.

    `event`: no calls but events of the attribute `what`, pushed by `caller` and received by `callee`; "" as
    `callee`: these reached nobody.
    """

    caller: str
    callee: str
    calls: int
    errors: int
    p95: int
    event: bool = False
    what: str = ""


@dataclass(frozen=True)
class DeviceMap:
    """Who calls whom. `nodes` has for each name its kind: "device", "class" or "program"."""

    nodes: dict[str, str] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()


def device_map(store: Store, criteria: Criteria, by: str = "device") -> DeviceMap:
    """Return the calls between devices, or `by` "class", and the events from those that push them to those
    that get them.
    """
    classes = _classes(store)

    def name(device: str, program: str) -> str:
        if by == "class" and device:
            return classes.get(device, device)
        return device or program

    chosen = set(criteria.choose(store.operations)) if criteria.of_operations else None
    pairs: dict[int, tuple[str, ...]] = {}
    pushed: dict[int, tuple[str, str]] = {}
    received: dict[int, tuple[str, str]] = {}
    for number, o in enumerate(store.operations):
        if chosen is not None and number not in chosen:
            continue
        if o.kind == "client" and o.device and (criteria.everything or not o.folded):
            pairs[number] = (name(o.instance, o.service), name(o.device, ""))
        elif o.kind == "producer" and (device := o.device or o.instance):
            pushed[number] = (device, _subject(o))
        elif o.kind == "consumer" and o.device:
            received[number] = (o.device, _subject(o))
    edges = _edges(store, criteria, pairs)
    edges += _events(store, criteria, pushed, received, name)
    nodes: dict[str, str] = {}
    devices = {name(o.device, "") for o in store.operations if o.device}
    devices |= {name(o.instance, "") for o in store.operations if o.instance}
    for edge in edges:
        for node in (edge.caller, edge.callee):
            if node:
                nodes[node] = ("class" if by == "class" else "device") if node in devices else "program"
    return DeviceMap(nodes, tuple(edges))


def _subject(operation: Operation) -> str:
    """The attribute of an event: spans are called "Motor.push_change_event position" and "push_event
    position".
    """
    return operation.name.partition(" ")[2].lower()


def _edges(store: Store, criteria: Criteria, pairs: dict[int, tuple[str, ...]]) -> list[Edge]:
    where, parameters = _where(criteria)
    statistics = "count(*), count_if(error), quantile_disc(duration, 0.95)"
    rows = _grouped(store, pairs, statistics, where, parameters, True)
    rows.sort(key=lambda row: (-row[1][1], row[0]))
    return [Edge(key[0], key[1], calls, errors, p95) for key, (_, calls, errors, p95) in rows]


def _events(
    store: Store,
    criteria: Criteria,
    pushed: dict[int, tuple[str, str]],
    received: dict[int, tuple[str, str]],
    name: Any,
) -> list[Edge]:
    counts = _count(store, criteria, [*pushed, *received])
    linked = _linked(store, criteria, list(pushed))
    # Where the context travels with a server's events, each of them tells whether it arrived anywhere.
    telling = {store.operations[number].service for number in linked}
    subjects: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, subject in received.items():
        if counts.get(number):
            subjects[subject].append(number)
    events: dict[tuple[str, str, str], list[int]] = {}
    for number, subject in pushed.items():
        if not counts.get(number):
            continue
        source = (name(subject[0], ""), subject[1])
        listeners = subjects.pop(subject, [])
        if not listeners:
            _add(events, (*source, ""), counts[number])
        elif store.operations[number].service in telling:
            lost = counts[number][0] - linked.get(number, 0)
            if lost > 0:
                _add(events, (*source, ""), (lost, 0))
        for listener in listeners:
            o = store.operations[listener]
            _add(events, (*source, name(o.instance, o.service)), counts[listener])
    # Events of servers that are not traced themselves.
    for subject, listeners in subjects.items():
        for listener in listeners:
            o = store.operations[listener]
            target = name(o.instance, o.service)
            _add(events, (name(subject[0], ""), subject[1], target), counts[listener])
    return [
        Edge(source, target, count, errors, 0, True, what)
        for (source, what, target), (count, errors) in events.items()
    ]


def _linked(store: Store, criteria: Criteria, numbers: list[int]) -> dict[int, int]:
    """Return by operation how many of its spans some callback was set off by; operations without any are
    absent.
    """
    where, parameters = _where(criteria)
    rows = store.query(
        "select operation, count(*) from spans s semi join links l"
        " on s.span = l.to_span and s.lo = l.to_lo and s.hi = l.to_hi"
        f" where operation in (select unnest(?::integer[])) and {where.replace('start', 's.start')} group "
        "by operation",
        [numbers, *parameters],
    )
    return dict(rows)


def _add(
    events: dict[tuple[str, str, str], list[int]], event: tuple[str, str, str], more: tuple[int, int]
) -> None:
    total = events.setdefault(event, [0, 0])
    total[0] += more[0]
    total[1] += more[1]


def _count(store: Store, criteria: Criteria, numbers: list[int]) -> dict[int, tuple[int, int]]:
    where, parameters = _where(criteria)
    rows = store.query(
        "select operation, count(*), count_if(error) from spans"
        f" where operation in (select unnest(?::integer[])) and {where} group by operation",
        [numbers, *parameters],
    )
    return {operation: (count, errors) for operation, count, errors in rows}


@dataclass(frozen=True)
class Change:
    """How one operation differs between two sets of spans.

    Durations are means in nanoseconds, `extra` their totals' difference.
    """

    key: tuple[str, ...]
    kind: str
    before: int
    after: int
    mean_before: int
    mean_after: int
    errors_before: int
    errors_after: int
    extra: int


def compare(
    before: dict[tuple[str, ...], Sequence[int]], after: dict[tuple[str, ...], Sequence[int]]
) -> list[Change]:
    """Compare two sets, each (count, total, errors) by operation: what takes more time comes first."""
    changes = []
    for key in dict.fromkeys([*before, *after]):
        count_a, total_a, errors_a = before.get(key, (0, 0, 0))
        count_b, total_b, errors_b = after.get(key, (0, 0, 0))
        mean_a, mean_b = total_a // max(1, count_a), total_b // max(1, count_b)
        kinds = []
        if not count_a or not count_b:
            kinds = ["gone" if count_b == 0 else "new"]
        else:
            kinds += _word(mean_a, mean_b, "slower", "quicker")
            kinds += _word(count_a, count_b, "more often", "less often")
        kind = ", ".join(kinds) or "same"
        changes.append(
            Change(key, kind, count_a, count_b, mean_a, mean_b, errors_a, errors_b, total_b - total_a)
        )
    return sorted(changes, key=lambda change: (-abs(change.extra), change.key))


def _word(before: int, after: int, more: str, less: str) -> list[str]:
    """A tenth is what a busy machine makes of two equal runs."""
    if after > before * 1.1:
        return [more]
    return [less] if after < before * 0.9 else []


def operation_totals(
    store: Store, criteria: Criteria = Criteria(), trace: str = ""
) -> dict[tuple[str, ...], Sequence[int]]:
    """Return (count, total duration, errors) for each device, operation and kind, of one trace or of all that
    fits.
    """
    where, parameters = _where(criteria)
    if trace:
        number = int(trace, 16)
        where, parameters = "hi = ? and lo = ?", [number >> 64, number & 0xFFFFFFFFFFFFFFFF]
    rows = store.query(
        f"select operation, count(*), sum(duration)::hugeint, count_if(error) from spans where {where} "
        "group by operation",
        parameters,
    )
    totals: dict[tuple[str, ...], list[int]] = {}
    for number, count, total, errors in rows:
        o = store.operations[number]
        if o.folded and not criteria.everything:
            continue
        line = totals.setdefault((o.device or o.instance or o.service, o.name), [0, 0, 0])
        line[0] += count
        line[1] += int(total)
        line[2] += errors
    return {key: tuple(line) for key, line in totals.items()}
