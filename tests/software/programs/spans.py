"""The spans of a run: what the file exporter has written, read without OpenTelemetry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_spans(folder: Path) -> list[dict[str, Any]]:
    """Return the spans of all OTLP JSON files below ``folder``, each with the ``service.name`` of its
    resource.
    """
    spans: list[dict[str, Any]] = []
    for path in sorted(path for path in folder.rglob("*") if ".jsonl" in path.name or path.suffix == ".json"):
        for line in path.read_text().splitlines():
            for block in json.loads(line).get("resourceSpans", ()):
                attributes = block.get("resource", {}).get("attributes", ())
                names = [a["value"].get("stringValue", "") for a in attributes if a["key"] == "service.name"]
                for scope in block.get("scopeSpans", ()):
                    spans += ({**span, "service": "".join(names)} for span in scope.get("spans", ()))
    return spans
