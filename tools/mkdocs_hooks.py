"""What the documentation shows that its Markdown says in comments only."""

from __future__ import annotations

import re
from typing import Any

_DATABASE = "../getting-started.md#a-database-for-the-other-pages"
_EXAMPLE = re.compile(r"^(<!-- example: ([\w.]+\.py).*?-->)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the name of each example's file above it, and of a server what it is in the database."""

    def above(match: re.Match[str]) -> str:
        comment, file = match.groups()
        server = re.search(r"server=(\S+) devices=(\S+)(?! nodb)\b(?!.* nodb)", comment)
        line = f"*{file}*"
        if server:
            line += f", `{server[1]}` with `{server[2]}` in [a database]({_DATABASE})"
        return f"{comment}\n\n{line}\n"

    return _EXAMPLE.sub(above, markdown)
