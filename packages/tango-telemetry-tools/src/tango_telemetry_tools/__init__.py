"""The `tango-telemetry` command: a demo of one traced operation, a viewer and finder of traces, and a doctor.

Never a dependency of a production server. The rooms:

    viewer/     from OTLP JSON files to pictures in the terminal and in the browser; `tango-telemetry show`
    demo/       `tango-telemetry demo`; the programs it runs are in demo/programs/
    doctor/     `tango-telemetry doctor`
"""
