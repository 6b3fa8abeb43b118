"""The trace context: how it travels between processes, and what is current in this one."""
