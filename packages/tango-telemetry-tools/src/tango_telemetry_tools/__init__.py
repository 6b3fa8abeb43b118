"""The `tango-telemetry` command: a demo of one traced operation, and a viewer of trace files.

Never a dependency of a production server. The modules, from the input to the picture:

    _model      what a span is here
    _otlp       one line of OTLP JSON into spans
    _reader     files and folders into lines, and what was wrong with them
    _summary    one pass over all spans: which traces are there
    _tree       the spans of one trace into a forest, with the holes in it
    _layout     what both pictures share: rows, colours, the time axis
    _waterfall  the picture in the terminal
    _html       the same as one self-contained page
    _show       `tango-telemetry show`
    _demo       `tango-telemetry demo`; the programs it runs are in demo/
"""
