"""The map as SVG. networkx finds the layers; the order within them follows the neighbours, so that few lines
cross.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import networkx

from . import layout

if TYPE_CHECKING:
    from ..store.queries import DeviceMap, Edge

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 210, 34, 150, 26, 20
_MAX_NAME = 28

STYLE = """
.node rect { fill: #f6f7f9; stroke: #667085; rx: 6px; }
.node.program rect { fill: #eaf2fd; stroke: #3b82f6; rx: 17px; }
.node.nobody rect { fill: #fdecee; stroke: #d92d3a; stroke-dasharray: 4 3; }
text { font: 12px system-ui, sans-serif; fill: #1c2330; } .edge path { fill: none; stroke: #98a2b3; }
.edge text { font-size: 10.5px; fill: #667085; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
.edge.bad path { stroke: #d92d3a; } .edge.bad text { fill: #d92d3a; }
.edge.event path { stroke-dasharray: 5 4; }
@media (prefers-color-scheme: dark) {
.node rect { fill: #191d26; stroke: #939db0; } .node.program rect { fill: #16243a; stroke: #60a5fa; }
.node.nobody rect { fill: #331b20; stroke: #ff6b74; } text { fill: #e6e9ef; } .edge path { stroke: #566074; }
.edge text { fill: #b3bccb; stroke: #12151c; }
.edge.bad path { stroke: #ff6b74; } .edge.bad text { fill: #ff6b74; }
svg { background: #12151c; } }
"""


def place(found: DeviceMap) -> dict[str, tuple[int, int]]:
    """Give the column and the row of each node: callers left of those whom they call."""
    graph = networkx.DiGraph()
    graph.add_nodes_from(found.nodes)
    graph.add_edges_from((edge.caller, edge.callee) for edge in found.edges if not edge.event)
    graph.add_edges_from(
        (edge.caller, edge.callee)
        for edge in found.edges
        if edge.event and not graph.has_edge(edge.callee, edge.caller)
    )
    # Devices that call each other in a ring share a layer.
    whole = networkx.condensation(graph)
    column: dict[str, int] = {}
    for number, generation in enumerate(networkx.topological_generations(whole)):
        for component in generation:
            for node in whole.nodes[component]["members"]:
                column[node] = number
    layers: dict[int, list[str]] = {}
    for node in graph:
        layers.setdefault(column[node], []).append(node)
    rows = {node: index for nodes in layers.values() for index, node in enumerate(sorted(nodes))}
    for _ in range(4):
        for number in sorted(layers):
            _order(graph, layers[number], rows)
    return {node: (column[node], rows[node]) for node in graph}


def _order(graph: Any, nodes: list[str], rows: dict[str, int]) -> None:
    def middle(node: str) -> tuple[float, str]:
        near = [rows[other] for other in (*graph.predecessors(node), *graph.successors(node))]
        return (sum(near) / len(near) if near else rows[node], node)

    for index, node in enumerate(sorted(nodes, key=middle)):
        rows[node] = index


def render_svg(found: DeviceMap) -> str:
    """Give the picture. Nothing in it can run, and nothing is loaded."""
    places = place(found)
    x = {node: _MARGIN + column * (_WIDTH + _GAP_X) for node, (column, _) in places.items()}
    y = {node: _MARGIN + row * (_HEIGHT + _GAP_Y) for node, (_, row) in places.items()}
    width = max(x.values(), default=0) + _WIDTH + _MARGIN + 60
    height = max(y.values(), default=0) + _HEIGHT + _MARGIN + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#98a2b3"/></marker></defs>',
    ]
    parts += [_edge(edge, x, y, number) for number, edge in enumerate(found.edges)]
    parts += [_node(name, kind, x[name], y[name]) for name, kind in found.nodes.items()]
    return "".join([*parts, "</svg>"])


def _node(name: str, kind: str, x: int, y: int) -> str:
    cleaned = layout.clean(name)
    short = cleaned if len(cleaned) <= _MAX_NAME else cleaned[: _MAX_NAME - 1] + "…"
    return (
        f'<g class="node {kind}"><title>{escape(cleaned)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" '
        f'height="{_HEIGHT}"/>'
        f'<text x="{x + _WIDTH // 2}" y="{y + 21}" text-anchor="middle">{escape(short)}</text></g>'
    )


def _edge(edge: Edge, x: dict[str, int], y: dict[str, int], number: int) -> str:
    start = (x[edge.caller] + _WIDTH, y[edge.caller] + _HEIGHT // 2)
    label = f"{edge.calls}" + (
        f" {_events(edge)}" if edge.event else f" · p95 {layout.format_duration(edge.p95)}"
    )
    label += f" · {layout.count(edge.errors, 'error')}" if edge.errors else ""
    if not edge.callee:
        label, end = f"{edge.calls} {_events(edge)} reach nobody", (start[0] + 40, start[1] + 14)
    elif x[edge.callee] > x[edge.caller]:
        end = (x[edge.callee], y[edge.callee] + _HEIGHT // 2)
    else:
        # Back, or within a layer: around the outside.
        end = (x[edge.callee] + _WIDTH, y[edge.callee] + _HEIGHT // 2 + 6)
    bend = 60 if end[0] <= start[0] else (end[0] - start[0]) // 2
    back = end[0] <= start[0]
    towards = end[0] + bend if back else end[0] - bend
    path = f"M{start[0]} {start[1]} C{start[0] + bend} {start[1]} {towards} {end[1]} {end[0]} {end[1]}"
    middle = ((start[0] + end[0]) // 2 + (50 if back else 0), (start[1] + end[1]) // 2 - 4)
    kinds = f"edge{' event' if edge.event else ''}{' bad' if edge.errors or not edge.callee else ''}"
    return (
        f'<g class="{kinds}"><path d="{path}" marker-end="url(#tip)"/>'
        f'<text x="{middle[0]}" y="{middle[1]}" text-anchor="middle">{escape(label)}</text></g>'
    )


def _events(edge: Edge) -> str:
    return f"events {layout.clean(edge.what)}".rstrip()


def render_page(found: DeviceMap) -> str:
    """Give a page with the picture and a table of its numbers."""
    rows = "".join(
        f"<tr><td>{escape(layout.clean(edge.caller))}</td>"
        f"<td>{escape(layout.clean(edge.callee or '(nobody)'))}</td>"
        f"<td>{escape(_events(edge)) if edge.event else 'calls'}</td>"
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
        " div { overflow-x: auto; } td, th { padding: 3px 14px 3px 0; text-align: left; "
        "}</style></head><body><h1>Who calls whom</h1>"
        f"<div>{render_svg(found)}</div><table><tr><th>caller</th><th>callee</th><th>what</th>"
        "<th>count</th><th>errors</th><th>p95</th></tr>"
        f"{rows}</table></body></html>"
    )
