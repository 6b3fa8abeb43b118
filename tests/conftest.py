"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

# A shared machine may be slow for a moment; what takes too long is what pytest's own time-outs are for.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")
