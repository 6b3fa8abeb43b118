"""Spans, log records and metrics in an embedded database (DuckDB): fed from files and by OTLP, asked by the
finder, `top`, `map` and `serve`.

database    the store itself: spans in, one trace out, bounds, damage
records     log records and metric points into it
feed        folders of the `file` exporter into a store, each line once
criteria    which spans and traces somebody wants to see
queries     the questions about spans: which traces, which operations, who calls whom, what changed
signals     the questions about logs, metrics, and links between spans
"""
