"""The map as SVG. networkx finds the layers; the order within them follows the neighbours, so that few lines
cross, and a line that passes a layer has a place in it as nodes have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import networkx

from . import layout

if TYPE_CHECKING:
    from ..store.queries import DeviceMap, Edge

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN, _LINE = 200, 34, 250, 24, 20, 15
_MAX_NAME = 28

STYLE = """
.node rect { fill: #f6f7f9; stroke: #667085; rx: 6px; }
.node.program rect { fill: #eaf2fd; stroke: #3b82f6; rx: 17px; }
.node text.lost { font-size: 10.5px; fill: #d92d3a; }
text { font: 12px system-ui, sans-serif; fill: #1c2330; } .edge path { fill: none; stroke: #98a2b3; }
.edge text { font-size: 10.5px; fill: #667085; paint-order: stroke; stroke: #fff; stroke-width: 6px; }
.edge.bad path { stroke: #d92d3a; } .edge.bad text { fill: #d92d3a; }
.edge.event path { stroke-dasharray: 5 4; }
@media (prefers-color-scheme: dark) {
.node rect { fill: #191d26; stroke: #939db0; } .node.program rect { fill: #16243a; stroke: #60a5fa; }
text { fill: #e6e9ef; } .node text.lost { fill: #ff6b74; } .edge path { stroke: #566074; }
.edge text { fill: #b3bccb; stroke: #12151c; }
.edge.bad path { stroke: #ff6b74; } .edge.bad text { fill: #ff6b74; }
svg { background: #12151c; } }
"""


# A device or a program by its name; or the place, (number of the edge, column), where a line passes a column.
Spot: TypeAlias = "str | tuple[int, int]"


def place(found: DeviceMap, edges: Sequence[Edge]) -> tuple[dict[Spot, tuple[int, int]], list[list[Spot]]]:
    """Return the column and the row of each spot, and the spots of the line of each of `edges`.

    Callers stand left of those whom they call.
    """
    column = _columns(found, edges)
    lines: list[list[Spot]] = []
    near: dict[Spot, list[Spot]] = {node: [] for node in found.nodes}
    for number, edge in enumerate(edges):
        start, end = column[edge.caller], column[edge.callee]
        step = 1 if end > start else -1
        between: list[Spot] = [(number, passed) for passed in range(start + step, end, step)]
        lines.append([edge.caller, *between, edge.callee])
        for one, other in pairwise(lines[-1]):
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)
    layers: dict[int, list[Spot]] = {}
    for spot in near:
        layers.setdefault(column[spot] if isinstance(spot, str) else spot[1], []).append(spot)
    rows = {spot: index for spots in layers.values() for index, spot in enumerate(sorted(spots, key=str))}
    for _ in range(4):
        for number in sorted(layers):
            _order(near, layers[number], rows)
    return {spot: (number, rows[spot]) for number, spots in layers.items() for spot in spots}, lines


def _columns(found: DeviceMap, edges: Sequence[Edge]) -> dict[str, int]:
    graph = networkx.DiGraph()
    graph.add_nodes_from(found.nodes)
    graph.add_edges_from((edge.caller, edge.callee) for edge in edges if not edge.event)
    graph.add_edges_from(
        (edge.caller, edge.callee)
        for edge in edges
        if edge.event and not graph.has_edge(edge.callee, edge.caller)
    )
    # Devices that call each other in a ring share a layer.
    whole = networkx.condensation(graph)
    return {
        node: number
        for number, generation in enumerate(networkx.topological_generations(whole))
        for component in generation
        for node in whole.nodes[component]["members"]
    }


def _order(near: Mapping[Spot, Sequence[Spot]], spots: list[Spot], rows: dict[Spot, int]) -> None:
    def middle(spot: Spot) -> tuple[float, str]:
        others = [rows[other] for other in near[spot]]
        return (sum(others) / len(others) if others else rows[spot], str(spot))

    for index, spot in enumerate(sorted(spots, key=middle)):
        rows[spot] = index


class _Picture:
    """Where everything stands: each line has a place of its own at both of its ends, and its label there."""

    def __init__(self, found: DeviceMap) -> None:
        self.edges = [edge for edge in found.edges if edge.callee]
        self.lost: dict[Spot, list[str]] = {}
        for edge in found.edges:
            if not edge.callee:
                reach = "reaches" if edge.calls == 1 else "reach"
                self.lost.setdefault(edge.caller, []).append(f"{_events(edge)} {reach} nobody")
        places, self.lines = place(found, self.edges)
        self.x = {spot: _MARGIN + column * (_WIDTH + _GAP_X) for spot, (column, _) in places.items()}
        sides: dict[tuple[Spot, bool], list[tuple[int, int, bool]]] = {}
        for number, (edge, line) in enumerate(zip(self.edges, self.lines, strict=True)):
            for is_end in (False, True):
                spot, other = (line[-1], line[-2]) if is_end else (line[0], line[1])
                side = (spot, self.right(edge, is_end))
                sides.setdefault(side, []).append((places[other][1], number, is_end))
        self.height = {
            spot: max(_HEIGHT, _LINE * max(len(sides.get((spot, right), ())) for right in (False, True)) + 8)
            if isinstance(spot, str)
            else 0
            for spot in places
        }
        self.y: dict[Spot, int] = {}
        below: dict[int, int] = {}
        for spot, (column, _) in sorted(places.items(), key=lambda item: item[1]):
            self.y[spot] = below.get(column, _MARGIN)
            gap = _GAP_Y if self.height[spot] else _LINE
            below[column] = self.y[spot] + self.height[spot] + gap + _LINE * len(self.lost.get(spot, ()))
        self.port: dict[tuple[int, bool], int] = {}
        for (spot, _), ends in sides.items():
            for index, (_, number, is_end) in enumerate(sorted(ends)):
                self.port[number, is_end] = self.y[spot] + (index + 1) * self.height[spot] // (len(ends) + 1)
        # Lines that lead around their node, and their labels, need room right of it.
        around = (self.x[edge.callee] + _GAP_X - _MARGIN for edge in self.edges if self.right(edge, True))
        self.size = (
            max([*self.x.values(), *around], default=0) + _WIDTH + _MARGIN,
            max(below.values(), default=0) + _MARGIN,
        )

    def right(self, edge: Edge, is_end: bool) -> bool:
        """Whether this end of a line is right of its node: lines lead to the right, back, or around."""
        start, end = self.x[edge.caller], self.x[edge.callee]
        return end <= start if is_end else end >= start

    def path(self, number: int) -> str:
        """Return a line in SVG's language, past the nodes that stand between its ends."""
        edge, passed = self.edges[number], self.lines[number][1:-1]
        leaves, enters = self.right(edge, False), self.right(edge, True)
        points = [(self.x[edge.caller] + _WIDTH * leaves, self.port[number, False])]
        for spot in passed:
            ends = [(self.x[spot], self.y[spot]), (self.x[spot] + _WIDTH, self.y[spot])]
            points += ends if leaves else ends[::-1]
        points.append((self.x[edge.callee] + _WIDTH * enters, self.port[number, True]))
        text = f"M{points[0][0]} {points[0][1]}"
        for index, ((x, y), (to_x, to_y)) in enumerate(pairwise(points)):
            if index % 2:
                text += f" L{to_x} {to_y}"
                continue
            bend = max(70, abs(to_x - x) // 2)
            one, two = x + (bend if leaves else -bend), to_x + (bend if enters else -bend)
            text += f" C{one} {y} {two} {to_y} {to_x} {to_y}"
        return text


def render_svg(found: DeviceMap) -> str:
    """Return the picture. Nothing in it can run, and nothing is loaded."""
    picture = _Picture(found)
    width, height = picture.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 8 4 0 8z" fill="#98a2b3"/></marker></defs>',
    ]
    edges = [_edge(picture, edge, number) for number, edge in enumerate(picture.edges)]
    # In this order no line runs through a label.
    parts += [path for path, _ in edges]
    parts += [_node(picture, name, kind) for name, kind in found.nodes.items()]
    parts += [label for _, label in edges]
    return "".join([*parts, "</svg>"])


def _node(picture: _Picture, name: str, kind: str) -> str:
    cleaned = layout.clean(name)
    short = cleaned if len(cleaned) <= _MAX_NAME else cleaned[: _MAX_NAME - 1] + "…"
    x, y, height = picture.x[name], picture.y[name], picture.height[name]
    lost = "".join(
        f'<text class="lost" x="{x + 6}" y="{y + height + _LINE * (index + 1)}">{escape(text)}</text>'
        for index, text in enumerate(picture.lost.get(name, ()))
    )
    return (
        f'<g class="node {kind}"><title>{escape(cleaned)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" '
        f'height="{height}"/>'
        f'<text x="{x + _WIDTH // 2}" y="{y + height // 2 + 4}" text-anchor="middle">{escape(short)}</text>'
        f"{lost}</g>"
    )


def _edge(picture: _Picture, edge: Edge, number: int) -> tuple[str, str]:
    """Return the line and its label."""
    right = picture.right(edge, True)
    end = (picture.x[edge.callee] + _WIDTH * right, picture.port[number, True])
    label = _events(edge) if edge.event else f"{edge.calls} · p95 {layout.format_duration(edge.p95)}"
    label += f" · {layout.count(edge.errors, 'error')}" if edge.errors else ""
    at, anchor = (end[0] + 10, "start") if right else (end[0] - 10, "end")
    group = f'<g class="edge{" event" if edge.event else ""}{" bad" if edge.errors else ""}">'
    return (
        f'{group}<path d="{picture.path(number)}" marker-end="url(#tip)"/></g>',
        f'{group}<text x="{at}" y="{end[1] - 3}" text-anchor="{anchor}">{escape(label)}</text></g>',
    )


def _events(edge: Edge) -> str:
    return f"{layout.count(edge.calls, 'event')} {layout.clean(edge.what)}".rstrip()


def render_page(found: DeviceMap) -> str:
    """Return a page with the picture and a table of its numbers."""
    rows = "".join(
        f"<tr><td>{escape(layout.clean(edge.caller))}</td>"
        f"<td>{escape(layout.clean(edge.callee or '(nobody)'))}</td>"
        f"<td>{escape(f'events {layout.clean(edge.what)}'.rstrip()) if edge.event else 'calls'}</td>"
        f"<td>{edge.calls}</td><td>{edge.errors}</td>"
        f"<td>{'' if edge.event else escape(layout.format_duration(edge.p95))}</td></tr>"
        for edge in found.edges
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src '
        "'unsafe-inline'\">"
        "<title>Who calls whom</title><style>:root { color-scheme: light dark; } body { font: 13px "
        "system-ui, sans-serif; margin: 16px; }"
        " div { overflow-x: auto; } td, th { padding: 3px 14px 3px 0; text-align: left; } "
        ":is(td, th):nth-child(n + 4) { text-align: right; } "
        "@media (prefers-color-scheme: dark) { body { background: #12151c; } }</style></head>"
        "<body><h1>Who calls whom</h1>"
        f"<div>{render_svg(found)}</div><table><tr><th>caller</th><th>callee</th><th>what</th>"
        "<th>count</th><th>errors</th><th>p95</th></tr>"
        f"{rows}</table></body></html>"
    )
