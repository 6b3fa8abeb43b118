"""Where a call is made: the span attributes of a place in the source and of a thread."""

from __future__ import annotations

import threading
from typing import Any

from tango_telemetry import semantic_conventions as names

__all__ = ["code_attributes", "thread_attributes"]


def code_attributes(code: Any, line: int) -> dict[str, Any]:
    """Return the span attributes of a place in the source."""
    return {
        names.CODE_FUNCTION_NAME: getattr(code, "co_qualname", code.co_name),
        names.CODE_FILE_PATH: code.co_filename,
        names.CODE_LINE_NUMBER: line,
    }


def thread_attributes() -> dict[str, Any]:
    """Return the span attributes of the running thread.

    Not to be kept: the next thread may get the id of one that ended, a thread may be renamed, and gevent puts
    functions of its own into `threading`, perhaps after this module was imported: a thread of the operating
    system then has many.
    """
    return {names.THREAD_ID: threading.get_ident(), names.THREAD_NAME: threading.current_thread().name}
