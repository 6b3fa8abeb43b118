"""`tango-telemetry serve`: a collector at hand and a page of many traces, for one user on one machine.

command     arguments, ports, start and stop
keeper      the thread that writes what came in and reads folders
app         the HTTP side: OTLP in, the page and its questions
receiver    OTLP in protobuf into spans, and the gRPC side
"""
