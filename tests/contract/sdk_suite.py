"""Run the OpenTelemetry SDK's own tests of tracing and context against the tracer provider in C++.

Usage: python tests/contract/sdk_suite.py [--source DIRECTORY] [--verbose]

Downloads the source distribution of the opentelemetry-sdk that is installed into a temporary directory,
unpacks it there and runs its ``tests/trace`` and ``tests/context`` with sdk_adapter.py. Nothing of it is
kept. Prints how many passed and each failure with its reason; the exit status is 1 if fewer passed than are
required, or if one failed that is not known here.

`--source` takes an unpacked distribution instead of a download.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

REQUIRED = 262
HERE = Path(__file__).resolve().parent

_METRICS = (
    "the SDK's experimental metrics about itself (OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED) are not made"
)
_IDENTITY = "compares two equal SpanContexts by identity; they are made when somebody asks for one"

# Why a test of the SDK does not hold for a provider that is not the SDK. Keyed by class and name.
REASONS: dict[str, str] = {
    "TestTracerProviderMetrics.test_dropped": _METRICS,
    "TestTracerProviderMetrics.test_dropped_local_parent": _METRICS,
    "TestTracerProviderMetrics.test_dropped_remote_parent": _METRICS,
    "TestTracerProviderMetrics.test_record_only": _METRICS,
    "TestTracerProviderMetrics.test_sampled": _METRICS,
    "TestTracer.test_extends_api": "asks for an instance of the SDK's own class; ours is one of the API's",
    "TestSpanCreation.test_instrumentation_info": "asks for the deprecation warning of a property that has been deprecated since 1.11 and is not there",  # noqa: E501
    "TestSpanCreation.test_start_as_current_span_decorator": _IDENTITY,
    "TestSpanCreation.test_start_as_current_span_implicit": _IDENTITY,
    "TestSpanCreation.test_start_span_implicit": _IDENTITY,
    "TestSpanCreation.test_update_resource": "changes the resource by a private method; ours changes in the child of a fork only",  # noqa: E501
}


def pip(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True
    )


def download(directory: Path) -> Path:
    """The unpacked source distribution."""
    version = importlib.metadata.version("opentelemetry-sdk")
    target = str(directory / "download")
    pip("download", "--no-binary", ":all:", "--no-deps", "--dest", target, f"opentelemetry-sdk=={version}")
    (archive,) = (directory / "download").glob("opentelemetry_sdk-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return directory / f"opentelemetry_sdk-{version}"


def run(source: Path, directory: Path) -> ElementTree.Element:
    """The tests' results."""
    if not (source / "tests" / "trace").is_dir():
        raise SystemExit(f"{source} has no tests/trace: this source distribution ships no tests")
    # The tests import opentelemetry.test, which is a distribution of its own; beside, not in, this
    # environment.
    utilities = directory / "utilities"
    pip("install", "--no-deps", "--target", str(utilities), "opentelemetry-test-utils")
    report = directory / "report.xml"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(utilities)]),
        # One test starts "python", which has to be this one.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "sdk_adapter", "-p", "no:cacheprovider"]
    command += ["--tb=short", f"--junit-xml={report}", "tests/trace", "tests/context"]
    output = subprocess.run(command, cwd=source, env=environment, text=True, capture_output=True, check=False)
    if not report.exists():
        raise SystemExit(output.stdout + output.stderr)
    print("\n".join(line for line in output.stdout.splitlines() if line.startswith("tests that made")))
    return ElementTree.parse(report).getroot()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="an unpacked source distribution of opentelemetry-sdk")
    parser.add_argument("--verbose", action="store_true", help="print each failure's message")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        results = run(arguments.source or download(directory), directory)
    cases = list(results.iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    passed = len(cases) - len(failed) - len(skipped)
    print(f"{passed} of {len(cases)} passed, {len(skipped)} skipped, {len(failed)} failed")
    unknown = 0
    for case in failed:
        key = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        reason = REASONS.get(key)
        unknown += reason is None
        print(f"  {key}: {reason or 'NOT EXPECTED'}")
        if reason is None or arguments.verbose:
            node = case.find("failure") if case.find("failure") is not None else case.find("error")
            print("    " + "\n    ".join((node.text or "").splitlines()[-12:]))
    return 1 if passed < REQUIRED or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
