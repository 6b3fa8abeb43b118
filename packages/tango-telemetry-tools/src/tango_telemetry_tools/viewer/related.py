"""What belongs to spans without being one: links to and from other spans, and log records, as lines
of text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from . import layout
from .glyphs import Glyphs
from .model import LogRecord
from .tree import Forest

if TYPE_CHECKING:
    from ..store.signals import Relation

# The link from the callback of an event to the span that sent the event: docs/how-to/events.md.
PRODUCER = "producer"
_MAX_LINES = 6


class Related:
    """Finds the links and the log records of the spans of one trace."""

    def __init__(
        self, forest: Forest, relations: Iterable[Relation] = (), logs: Iterable[LogRecord] = ()
    ) -> None:
        self.trace = forest.spans[0].trace_id if forest.spans else ""
        self.relations: dict[str, list[Relation]] = defaultdict(list)
        self.logs: dict[str, list[LogRecord]] = defaultdict(list)
        self.loose: list[LogRecord] = []
        for relation in relations:
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


def is_effect(relation: Relation) -> bool:
    """Whether the other span came of this one: a link points from what happened to what it came from."""
    return not relation.forwards


def phrase(relation: Relation) -> str:
    """Return what the other span is to this one."""
    if relation.kind == PRODUCER:
        return "set off by" if relation.forwards else "reached"
    return "linked to" if relation.forwards else "linked from"


def about(relation: Relation) -> str:
    """Return which span it is, or that it is not here."""
    if not relation.name:
        return f"span {relation.other}, which is not here"
    return ", ".join(part for part in (relation.name, relation.device or relation.service) if part)


def log_line(record: LogRecord, start: int) -> str:
    """Return a record in one line, with its time since `start`, in nanoseconds since 1970."""
    at = record.time - start
    moment = f"{'-' if at < 0 else '+'}{layout.format_duration(abs(at))}"
    word = f" {record.word}" if record.word else ""
    return f"{moment}{word}: {' '.join(record.text.split())}"
