"""`tango-telemetry doctor`: would traces arrive, and if not, what to type."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable

from rich.console import Console
from tango_telemetry.diagnosis import (
    guarded,
)

from ..viewer.glyphs import choose_glyphs
from . import context, device, endpoints, everywhere, installed, settings
from .model import Diagnosis
from .picture import Picture

ARRIVE, DO_NOT_ARRIVE = 0, 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "doctor",
        help="find out whether traces would arrive, and what to type if not",
        description="Look at what is installed, at every setting and its source, and at the context "
        "bridge; send one span "
        "to each endpoint; say for everything that is wrong the one line to type.",
        epilog="Exit status: 0 traces would arrive, 1 they would not, 2 wrong usage.",
    )
    parser.add_argument("--json", action="store_true", help="print the diagnosis as JSON, in a stable schema")
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="also show each package and the variables that are not set; with --all a row for each device",
    )
    parser.add_argument("--device", metavar="NAME", help="also ask this device what it reports")
    parser.add_argument(
        "--all",
        action="store_true",
        help="only ask every exported device of the database whether it is traced, and where its spans go",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the arguments say; give the exit status."""
    if arguments.all:
        return everywhere.run(arguments.json, arguments.verbose)
    diagnosis = diagnose(arguments.device)
    if arguments.json:
        json.dump(diagnosis.as_json(), sys.stdout, indent=2)
        print()
    else:
        console = Console(highlight=False)
        Picture(console, choose_glyphs(console), verbose=arguments.verbose).draw(diagnosis)
    return ARRIVE if diagnosis.traces_arrive else DO_NOT_ARRIVE


class _Errors(logging.Handler):
    """Turns what goes wrong inside the doctor itself into one more problem."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(logging.ERROR)
        self._diagnosis = diagnosis

    def emit(self, record: logging.LogRecord) -> None:
        self._diagnosis.error(record.getMessage(), "tango-telemetry doctor --json   # and report it, please")


def diagnose(device_name: str | None = None) -> Diagnosis:
    """Look at everything, in an order in which nothing that is done spoils what is looked at next."""
    diagnosis = Diagnosis()
    logger = logging.getLogger("tango_telemetry")
    handler, propagate = _Errors(diagnosis), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        _look(diagnosis, device_name)
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
    return diagnosis


def _look(diagnosis: Diagnosis, device_name: str | None) -> None:
    environ = dict(os.environ)
    steps: list[Callable[[], None]] = [lambda: installed.look(diagnosis)]
    config = guarded(settings.look, diagnosis, environ)
    if config is not None:
        variable = settings.endpoint_variable(
            {s.name: s.value for s in diagnosis.settings if s.source != "default"}
        )
        steps.append(lambda: context.look(diagnosis, config))
        steps.append(lambda: endpoints.look(diagnosis, config, variable))
    if device_name is not None:
        steps.append(lambda: device.look(diagnosis, device_name))
    for step in steps:
        guarded(step)
