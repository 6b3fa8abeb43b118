"""What belongs to spans without being one: links to and from other spans, and log records, as lines
of text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from . import layout
from .glyphs import Glyphs
from .model import LogRecord, Relation, Span
from .tree import Forest

# The link from the callback of an event to the span that sent the event: docs/how-to/events.md.
PRODUCER = "producer"
_MAX_LINES = 6


class Related:
    """Finds the links and the log records of the spans of one trace.

    `relations` None: only links between spans of the trace itself are known.
    """

    def __init__(
        self, forest: Forest, relations: Iterable[Relation] | None = None, logs: Iterable[LogRecord] = ()
    ) -> None:
        self.trace = forest.spans[0].trace_id if forest.spans else ""
        self.relations: dict[str, list[Relation]] = defaultdict(list)
        self.logs: dict[str, list[LogRecord]] = defaultdict(list)
        self.loose: list[LogRecord] = []
        for relation in _own(forest) if relations is None else relations:
            self.relations[relation.span_id].append(relation)
        known = {span.span_id for span in forest.spans}
        for record in logs:
            if record.span_id in known:
                self.logs[record.span_id].append(record)
            else:
                self.loose.append(record)

    def lines(self, span_ids: Sequence[str], glyphs: Glyphs) -> list[str]:
        """Return a line for each kind of link that these spans have, the same many times as one."""
        groups: dict[tuple[str, str], list[Relation]] = defaultdict(list)
        for span_id in span_ids:
            for relation in self.relations.get(span_id, ()):
                groups[phrase(relation), about(relation)].append(relation)
        lines = []
        for (word, other), members in groups.items():
            first = members[0]
            times = f" {glyphs.times} {len(members)}" if len(members) > 1 else ""
            where = "this trace" if first.trace == self.trace else f"trace {first.trace[:8]}"
            arrow = glyphs.towards if is_effect(first) else glyphs.back
            lines.append(f"{arrow} {word} {other}{times}, {where}{', ...' if times else ''}")
        if len(lines) > _MAX_LINES:
            lines = [*lines[: _MAX_LINES - 1], f"and {len(lines) - _MAX_LINES + 1} more links: -v"]
        return lines


def _own(forest: Forest) -> Iterator[Relation]:
    by_id = {span.span_id: span for span in forest.spans}
    for span in forest.spans:
        for link in span.links:
            kind = str(dict(link.attributes).get("tango.link", ""))
            other = by_id.get(link.span_id) if link.trace_id == span.trace_id else None
            about = (other.name, _actor(other)) if other else ("", "")
            yield Relation(span.span_id, True, kind, link.trace_id, link.span_id, *about)
            if other:
                about = (span.name, _actor(span))
                yield Relation(other.span_id, False, kind, span.trace_id, span.span_id, *about)


def _actor(span: Span) -> str:
    instance = span.resource.instance
    return instance if instance.count("/") == 2 else span.service


def is_effect(relation: Relation) -> bool:
    """Whether the other span came of this one: a link points from what happened to what it came from."""
    return not relation.forwards


def phrase(relation: Relation) -> str:
    """Return what the other span is to this one."""
    if relation.kind == PRODUCER:
        return "set off by" if relation.forwards else "reached"
    return "linked to" if relation.forwards else "linked from"


def about(relation: Relation) -> str:
    """Return whose span it is and which, or that it is not here."""
    if not relation.name:
        return f"span {relation.other}, which is not here"
    return f"{relation.actor}: {relation.name}"


def log_line(record: LogRecord, start: int) -> str:
    """Return a record in one line, with its time since `start`, in nanoseconds since 1970."""
    at = record.time - start
    moment = f"{'-' if at < 0 else '+'}{layout.format_duration(abs(at))}"
    word = f" {record.word}" if record.word else ""
    return f"{moment}{word}: {' '.join(record.text.split())}"
