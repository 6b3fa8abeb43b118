"""Log records with their trace: what devices write to Tango's streams, and Python's ``logging``.

    switch           what is on, following the settings
    python_logging   every record that a logger hands to its handlers
    streams          ``info_stream`` and its kin, ``log_info``, ``InfoIt``
    records          what waits, in memory, and its OTLP
    emit             where a record goes: our pipeline, or a LoggerProvider of the user's
    text             the trace in records of ``logging`` that are written as text

Nothing of this is imported before logs are asked for (``text``: before a user asks for it).
"""
