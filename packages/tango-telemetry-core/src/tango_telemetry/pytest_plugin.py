"""The pytest plugin of tango-telemetry: the fixture ``tango_spans``. pytest loads it by its entry point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tango_telemetry.testing import SpanRecorder

__all__ = ["tango_spans"]


@pytest.fixture
def tango_spans() -> Iterator[SpanRecorder]:
    """A :class:`tango_telemetry.testing.SpanRecorder` that records during the test."""
    # Imported here: pytest loads plugins in every session of the environment, this one's too.
    from tango_telemetry.testing import SpanRecorder

    with SpanRecorder() as recorder:
        yield recorder
