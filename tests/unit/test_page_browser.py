"""The page in a real browser: everything that a user does with the pointer and the keyboard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import MISSING, Browser, open_browser
from tango_telemetry_tools.viewer.model import Event, Link, Resource, Span
from tango_telemetry_tools.viewer.page import write_page
from tango_telemetry_tools.viewer.tree import build_forest

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

TRACE = "4bf9" * 8
MS = 10**6
EVIL = "</script><img src=x onerror=alert(1)>\x1b"


def make(
    number: int, parent: int, name: str, service: str, start: float, duration: float, **fields: object
) -> Span:
    parent_id = f"{parent:016x}" if parent else ""
    begin = 10**18 + int(start * MS)
    resource = Resource(service, "", (("service.name", service),))
    end = begin + int(duration * MS)
    return Span(TRACE, f"{number:016x}", parent_id, name, "client", begin, end, resource, **fields)  # type: ignore[arg-type]


def scan() -> list[Span]:
    """A scan of 28 points, three of which failed; 24 equal reads; a link; names that would like to run."""
    spans = [make(1, 0, "scan", "my.app", 0, 1000)]
    for point in range(28):
        bad = point in (5, 13, 21)
        error = (
            {"is_error": True, "status_message": f"GaugeTimeout: no answer at point {point}\nin full"}
            if bad
            else {}
        )
        device = (("tango.device.name", f"lab/gauge/{point}"), ("server.address", "10.1.2.3"))
        spans.append(make(100 + point, 1, f"measure {point}", "my.app", point * 30, 25))
        number = 200 + 2 * point
        spans.append(
            make(
                number,
                100 + point,
                f"read_attribute p{point}",
                "pytango.client",
                point * 30 + 1,
                20,
                attributes=device,
                **error,
            )
        )
        spans.append(
            make(
                number + 1,
                number,
                f"Gauge.read p{point}",
                "Gauge",
                point * 30 + 2,
                15,
                attributes=device,
                **error,
            )
        )
    spans += [
        make(400 + n, 1, "read_attribute pressure", "pytango.client", 850 + n, 80 if n == 3 else 0.242)
        for n in range(24)
    ]
    events = (Event(10**18 + 990 * MS + 242_000, "exception", ((EVIL, EVIL),)),)
    links = (Link(TRACE, f"{100:016x}"), Link("a" * 32, "b" * 16))
    spans.append(make(500, 1, EVIL, EVIL, 990, 5, events=events, links=links))
    return spans


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    path = tmp_path / "page.html"
    write_page(path, build_forest(scan()))
    browser.resize(1280, 800)
    browser.errors()
    browser.open(path.as_uri())
    yield browser
    assert browser.errors() == []


def rows(browser: Browser) -> list[str]:
    return browser.texts(".row .tree")


def test_device_and_reason_are_on_the_row(page: Browser) -> None:
    assert "lab/gauge/0" in " ".join(rows(page))
    page.click("#next")
    (current,) = page.texts(".row.current")
    assert "GaugeTimeout: no answer at point 5" in current
    assert "lab/gauge/5" in current


def test_errors_are_stepped_through_and_counted_where_they_began(page: Browser) -> None:
    assert page.text("#place") == "3 errors"
    seen = []
    for _ in range(4):
        page.click("#next")
        seen.append((page.text("#place"), page.text(".row.current .name")))
    assert seen == [
        ("1 of 3", "Gauge.read p5"),
        ("2 of 3", "Gauge.read p13"),
        ("3 of 3", "Gauge.read p21"),
        ("1 of 3", "Gauge.read p5"),
    ]
    page.type("p")
    assert page.text("#place") == "3 of 3"
    box = "const r = document.querySelector('.row.current').getBoundingClientRect(), m = document.querySelector('main').getBoundingClientRect();"  # noqa: E501
    assert page.run(box + "return r.top >= m.top && r.bottom <= m.bottom")


def test_collapsed_parents_say_what_failed_below(page: Browser) -> None:
    page.click("#collapse")
    assert page.texts(".row .bad-count") == ["2"] or len(page.texts(".row .bad-count")) >= 1
    marked = page.run(
        "return [...document.querySelectorAll('.row')].filter(r => r.querySelector('.bad-count')).map(r => "
        "r.querySelector('.name').innerText)"
    )
    assert set(marked) <= {"measure 5", "measure 13", "measure 21"}
    assert "measure 5" in marked
    page.click("#expand")
    assert page.texts(".row .bad-count") == []


def test_search_finds_attributes_and_errors(page: Browser) -> None:
    page.type("/")
    page.type("GaugeTimeout")
    assert page.text("#found") == "6 found"
    page.type("Enter")
    assert page.text("#found") == "1 of 6"
    assert page.text(".row.current .name") == "read_attribute p5"
    page.type("Escape", "/")
    page.type("10.1.2.3", "Enter")
    assert page.text("#found") == "1 of 56"


def test_equal_siblings_are_one_row_that_opens(page: Browser) -> None:
    page.run("document.querySelector('main').scrollTop = 1e6")
    page.wait("return document.querySelector('.times')")
    assert page.text(".times").startswith("24 ×")
    (text,) = page.run(
        "return [[...document.querySelectorAll('.row')].find(r => r.querySelector('.times')).innerText]"
    )
    assert "longest 80.0 ms" in text
    before = page.run("return document.querySelector('.window').offsetHeight")
    page.click(".times")
    page.wait("return document.querySelector('.window').offsetHeight - arguments[0] === 23 * 28", before)


def test_time_is_zoomed_by_dragging_and_reset(page: Browser) -> None:
    whole = page.text(".axis .time span:last-child")
    page.drag("#map", 0.2, 0.4)
    page.wait(
        "return document.querySelector('.axis .time span:last-child').innerText !== arguments[0]", whole
    )
    assert page.text(".axis .time span:first-child").startswith(("199", "200", "201"))
    page.click("#reset")
    assert page.text(".axis .time span:last-child") == whole
    page.drag(".axis .time", 0.1, 0.2)
    page.drag("#map", 0.5, 0.9)
    page.type("Escape")
    assert page.text(".axis .time span:last-child") == whole


def test_details_links_and_permalinks(page: Browser) -> None:
    url = page.run("return location.href")
    page.run(f"location.hash = '#{TRACE}/{500:016x}'")
    page.wait("return !document.querySelector('#detail').hidden")
    detail = page.text("#detail")
    # The sign for micro stays one: the style sheet must not make it a capital.
    assert "at +242 µs" in detail
    assert "/script><img" in detail
    assert page.run("return document.querySelectorAll('#detail a').length") == 3
    page.click(f"#detail a[href$='{100:016x}']")
    page.wait("return document.querySelector('#detail strong').innerText === 'measure 0'")
    assert page.run("return location.hash") == f"#{TRACE}/{100:016x}"
    # And the way back.
    assert "Linked from" in page.text("#detail")
    page.open("about:blank")
    page.open(f"{url.split('#')[0]}#{TRACE}/{213:016x}")
    assert page.text(".row.current .name") == "Gauge.read p6"
    assert page.run("return document.querySelectorAll('img').length") == 0


def test_self_time_and_critical_path(page: Browser) -> None:
    assert page.run("return document.querySelectorAll('.row.critical').length") > 3
    page.run(f"location.hash = '#{TRACE}/{200:016x}'")
    page.wait("return !document.querySelector('#detail').hidden")
    assert "self time\t5.00 ms" in page.text("#detail")


def test_the_legend_hides_a_service(page: Browser) -> None:
    page.click(".legend button:nth-child(2)")
    assert page.run("return document.querySelectorAll('.row.dim').length") > 3
    page.click(".legend button:nth-child(2)")
    assert page.run("return document.querySelectorAll('.row.dim').length") == 0


def test_keys(page: Browser) -> None:
    page.type("j", "j")
    assert page.text(".row.current .name") == "measure 0"
    page.type("ArrowLeft")
    assert page.run("return document.querySelector('.row.current').getAttribute('aria-expanded')") == "false"
    page.type("ArrowRight", "ArrowDown", "Enter")
    assert page.text("#detail strong") == "read_attribute p0"
    page.type("Escape", "?")
    assert "previous error" in page.text("dialog")
    page.type("Escape")


def test_phone(page: Browser) -> None:
    page.resize(390, 844)
    assert page.run("return document.documentElement.scrollWidth") <= 390
    assert not [
        box
        for box in page.run(
            "return [...document.querySelectorAll('.tools button:not([hidden]), .axis span')].map(n => "
            "n.getBoundingClientRect().right)"
        )
        if box > 391
    ]
    page.click("#next")
    assert page.text("#place") == "1 of 3"


def test_a_hundred_thousand_spans(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    spans = [make(1, 0, "root", "my.app", 0, 100_000)]
    spans += [make(n, 1 + n // 40, f"step {n % 977}", f"s{n % 5}", n / 2, 0.4) for n in range(2, 100_000)]
    write_page(path, build_forest(spans))
    browser.resize(1280, 800)
    start = time.monotonic()
    browser.open(path.as_uri())
    browser.wait("return document.querySelectorAll('.row').length")
    loaded = time.monotonic() - start
    # In the page itself: some 10 ms on an idle machine; the bound is for a busy one.
    took = browser.run(
        "const t = performance.now(); document.querySelector('main').scrollTop = 1e6; "
        "document.querySelector('main').dispatchEvent(new Event('scroll')); "
        "document.querySelector('.row').offsetTop; return performance.now() - t"
    )
    assert browser.run("return document.querySelectorAll('.row').length") < 80
    assert took < 1000
    assert loaded < 45
