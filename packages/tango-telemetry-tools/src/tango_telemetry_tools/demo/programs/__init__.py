"""The programs of `tango-telemetry demo`: an ordinary client script and two ordinary device servers, to be
copied.
"""
