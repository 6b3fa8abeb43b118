"""One traced call: its plan, its span, its hooks and what its span says."""
