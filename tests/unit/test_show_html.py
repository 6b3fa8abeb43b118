"""The page: complete in itself, everything in it escaped, and one row for each span."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tango_telemetry_tools.viewer.model import Event, Link, Resource, Span
from tango_telemetry_tools.viewer.page import render_page, write_page
from tango_telemetry_tools.viewer.tree import Forest, build_forest

EVIL = """</script><script>alert(1)</script><!--<img src=x onerror="alert(2)">'"&amp;\x1b\u202e\ud800$title"""


def make(
    span_id: str, parent_id: str = "", name: str = "n", service: str = "s", start: int = 0, **fields: object
) -> Span:
    resource = Resource(service, "", (("service.name", service),))
    return Span("4bf9" * 8, span_id, parent_id, name, "client", start, start + 100, resource, **fields)  # type: ignore[arg-type]


class Page(HTMLParser):
    """The elements of a page with their attributes, the text outside scripts, and the contents of scripts."""

    def __init__(self, forest: Forest) -> None:
        super().__init__()
        self.source = render_page(forest)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            (self.scripts if self._inside == "script" else self.styles).append(data)
        else:
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        """What the script draws."""
        found: dict[str, Any] = json.loads(self.scripts[0], parse_constant=pytest.fail)
        return found


def evil_forest() -> Forest:
    attributes = ((EVIL, EVIL), ("list", (EVIL, 1)), ("map", {EVIL: EVIL}))
    events = (Event(5, EVIL, attributes),)
    links = (Link("1" * 32, "2" * 16, attributes),)
    fields: dict[str, object] = {
        "attributes": attributes,
        "events": events,
        "links": links,
        "trace_state": EVIL,
        "scope": EVIL,
    }
    return build_forest(
        [make("a", "", EVIL, EVIL, is_error=True, status_message=EVIL, **fields), make("b", EVIL, EVIL, "t")]
    )


def test_nothing_of_a_span_becomes_an_element() -> None:
    plain = Page(build_forest([make("a", is_error=True), make("b", "x", service="t")]))
    evil = Page(evil_forest())
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in plain.tags]
    names = {name for _, attributes in evil.tags for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    evil.source.encode()
    assert "\x1b" not in evil.source


def test_only_the_script_that_the_policy_names_may_run() -> None:
    page = Page(evil_forest())
    (policy,) = [
        a["content"]
        for tag, a in page.tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    data, script = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert [a.get("type") for tag, a in page.tags if tag == "script"] == ["application/json", None]
    assert "<" not in data


def test_nothing_is_loaded_from_anywhere() -> None:
    page = Page(build_forest([make("a")]))
    assert not [a for _, a in page.tags if {"src", "href", "srcset", "data", "action"} & set(a)]
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|import\(", page.source)


def test_details_arrive_as_they_were() -> None:
    data = Page(evil_forest()).data
    text = EVIL.replace("\ud800", "?")
    first, missing, second = data["rows"]
    assert first["text"] == text
    assert first["attrs"] == [[text, text], ["list", [text, 1]], ["map", {text: text}]]
    assert first["events"][0]["name"] == text
    assert first["links"][0]["trace"] == "1" * 32
    assert first["state"] == text
    assert missing["n"] == 1
    assert second["svc"] == 1
    assert data["resources"][first["res"]] == [["service.name", text]]


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), 1 << 80, "\ud800", (float("inf"),), {"a": float("nan")}]
)
def test_values_that_are_no_json_reach_the_browser_all_the_same(value: object) -> None:
    page = Page(build_forest([make("a", attributes=(("value", value),))]))
    assert len(page.data["rows"]) == 1


def test_rows_follow_the_tree() -> None:
    spans = [
        make("a"),
        make("b", "a", start=25),
        make("c", "b", start=50, service="t", is_error=True),
        make("d", "gone", start=60),
    ]
    rows = Page(build_forest(spans)).data["rows"]
    assert [(row["d"], row["n"], row["s"]) for row in rows] == [
        (0, 2, 0),
        (1, 1, 25),
        (2, 0, 50),
        (0, 1, 0),
        (1, 0, 60),
    ]
    assert [row.get("err", False) for row in rows] == [False, False, True, False, False]
    assert rows[3]["missing"] == "gone"


def test_an_empty_trace_gives_a_page() -> None:
    assert Page(build_forest([])).data["rows"] == []


def test_the_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    old = os.umask(0o027)
    try:
        write_page(path, build_forest([make("a")]))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = path.read_text()

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_page(path, build_forest([make("b")]))
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
    assert path.read_text() == before
