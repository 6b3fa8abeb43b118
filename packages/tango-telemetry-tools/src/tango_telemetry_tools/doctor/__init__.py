"""What `tango-telemetry doctor` looks at, one module each; `model` says what they find.

model      the diagnosis, and its JSON
installed  packages and versions, and whether cppTango has telemetry
settings   each setting, its value and where it comes from
context    which bridge carries the context, which tracer provider makes spans, and why
endpoints  one span really sent to each endpoint
device     what one device says of itself
picture    all of it in the terminal
"""
