"""Makes the links of README.md work where an index shows it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# A link to a file of this repository; one that has a scheme, or leads within the page, stays.
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)]+)\)")


class IndexReadme(MetadataHookInterface):
    """Fills in the field ``readme``, whose links name the file of the version that is built."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the text to ``metadata``."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        tree = f"{metadata['urls']['Homepage']}/-/blob/v{metadata['version']}"
        metadata["readme"] = {"content-type": "text/markdown", "text": _LINK.sub(rf"]({tree}/\1)", text)}
