"""OpenTelemetry: its API, its SDK, and stubs of the same shape; the only room that imports it."""
