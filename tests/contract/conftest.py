"""What the pipeline does to the loggers of the SDK in this process is not what these tests are about."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def loud_sdk() -> Iterator[None]:
    """Let the SDK's loggers say everything: a pipeline made by another test of this process limits their
    rate.
    """
    loggers = [
        logger
        for name, logger in logging.Logger.manager.loggerDict.items()
        if name.startswith(("opentelemetry", "tango_telemetry")) and isinstance(logger, logging.Logger)
    ]
    before = [(logger, logger.filters, logger.level) for logger in loggers]
    for logger in loggers:
        logger.filters = []
        logger.setLevel(logging.NOTSET)
    yield
    for logger, filters, level in before:
        logger.filters = filters
        logger.setLevel(level)
