"""Asks devices what their servers do: the question of :mod:`tango_telemetry.report`."""

from __future__ import annotations

import json
import secrets
from typing import Any

from tango_telemetry.diagnosis import (
    BEGINNING,
    QUESTION,
    NoOpBridge,
    create_context_bridge,
    tango_version,
)

_MOST = 1_000_000
"""Characters of an answer that are read."""


class Asker:
    """Asks devices what they do; needs a way for the context in this process.

    :ivar can_ask: False where nothing carries a context from here, so that nobody would understand
    """

    def __init__(self) -> None:
        self._bridge = create_context_bridge("auto", kernel=False, tango_version=tango_version())
        self.can_ask = not isinstance(self._bridge, NoOpBridge)

    def ask(self, proxy: Any) -> dict[str, Any] | None:
        """Return what the device's server reports; None where nobody there knows us.

        :param proxy: a ``tango.DeviceProxy``
        :raises tango.DevFailed: for a device that does not answer
        """
        # Not sampled, and with our entry beside the question: else it is taken for a span of cppTango's.
        span_id = secrets.token_hex(8)
        traceparent = f"00-{secrets.token_hex(16)}-{span_id}-00"
        tracestate = f"tango={span_id}-00,{QUESTION}={proxy.dev_name().lower()}"
        token = self._bridge.enter("doctor", traceparent, tracestate)
        try:
            answer = proxy.status()
        finally:
            self._bridge.exit(token)
        if not isinstance(answer, str) or not answer.startswith(BEGINNING):
            return None
        try:
            report = json.loads(answer[:_MOST])
        except ValueError:  # a Status that begins like ours
            return None
        return report if isinstance(report, dict) else None
