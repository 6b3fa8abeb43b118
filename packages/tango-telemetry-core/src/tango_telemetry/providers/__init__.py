"""Tracer providers and tracers: who makes them, and which one a call belongs to."""
