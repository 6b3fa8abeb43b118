"""Does a trace show the whole operation? What the demo asks of its own."""

from __future__ import annotations

from collections.abc import Collection

from ..viewer.layout import count
from ..viewer.tree import Forest


def find_faults(forest: Forest, services: Collection[str]) -> list[str]:
    """Return what is wrong, one line each: not exactly one root, spans without their parent, services that
    are missing.
    """
    faults = []
    if not forest.spans:
        return ["the trace has no spans"]
    if len(forest.roots) != 1:
        names = ", ".join(span.name for span in forest.roots)
        faults.append(
            f"one root was expected, there are {len(forest.roots)}" + (f": {names}" if names else "")
        )
    if forest.orphans:
        names = ", ".join(dict.fromkeys(span.name for span in forest.orphans))
        faults.append(f"the parent is missing of {count(len(forest.orphans), 'span')}: {names}")
    if forest.loops:
        faults.append(f"{count(len(forest.loops), 'ring')} of spans that are their own ancestors")
    if missing := [service for service in services if service not in forest.services]:
        faults.append(f"no span of {', '.join(missing)}")
    return faults
