"""Metrics: how long calls take, and what else a process can say of itself in numbers.

    switch   what is on, following the settings
    calls    which series a call belongs to
    gauges   what else is told: events, requests, the process, the account of the pipelines
    source   what is exported, once in each interval: our pipeline's end
    meters   the same for a meter provider of the user's

Nothing of this is imported before metrics are asked for. Durations are recorded in C++, or by the user's
meter provider; what counts a call is found once for each place of calls, and kept in its plan
(docs/decisions/0013).
"""
