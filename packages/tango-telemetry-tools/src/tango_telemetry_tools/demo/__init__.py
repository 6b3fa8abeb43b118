"""`tango-telemetry demo`: runs a small control system and checks the trace of one operation."""
