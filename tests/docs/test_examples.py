"""Every Python example of the README and of docs/ runs, with real devices, and gives the trace that its page
promises.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_examples import ROOT, Page, pages, read_examples, running_database

PAGES = pages()


@pytest.fixture(scope="module")
def tango_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_database(tmp_path_factory.mktemp("database")) as host:
        yield host


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_page(page: Path, tango_host: str, tmp_path: Path) -> None:
    Page(tmp_path, tango_host).run(read_examples(page))
