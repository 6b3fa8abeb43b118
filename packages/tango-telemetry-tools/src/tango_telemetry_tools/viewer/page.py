"""One trace as one self-contained HTML page: a trace viewer that works offline.

Nothing is loaded from elsewhere, and the page's content security policy says so to the browser. Names in a
trace are other people's: they travel as JSON and become text nodes in the browser, and only the one script
whose hash the policy names may run, so that even an escape forgotten here could not execute anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from . import layout
from .model import LogRecord, Relation
from .trace_data import as_data
from .tree import Forest


def write_page(
    path: Path, forest: Forest, relations: Sequence[Relation] | None = None, logs: Sequence[LogRecord] = ()
) -> None:
    """Write the page, all of it or nothing. Raises OSError."""
    page = render_page(forest, relations, logs)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(page)
        # mkstemp makes a file for its owner alone; a page is for showing, as the user's umask allows.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def render_page(
    forest: Forest, relations: Sequence[Relation] | None = None, logs: Sequence[LogRecord] = ()
) -> str:
    """Return the page as text."""
    script = read_asset("trace.js") + read_asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    root = next((row.span for row in forest.rows if row.span), None)
    title = f"{layout.clean(root.service)}: {layout.clean(root.name)}" if root else "empty trace"
    return Template(read_asset("page.html")).substitute(
        script_hash=f"sha256-{digest}",
        title=escape(title),
        style=read_asset("page.css"),
        data=_json(as_data(forest, relations, logs)),
        script=script,
    )


def read_asset(name: str) -> str:
    """Return one of the files that pages are made of."""
    return files(__package__).joinpath("assets").joinpath(name).read_text("utf-8")


def _json(value: object) -> str:
    """JSON that can stand in a script element: no "<" can end the element or open a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
