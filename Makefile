# Every target does its own set-up: a virtual environment in .venv, from the package registry configured for pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := core client server native tools auto
STAMP := $(VENV)/.installed

.PHONY: bench bench-bytes bench-faults bench-metrics bench-store clean demo dist docs fuzz help layers lint sanitized setup soak soak-calls soak-spans test \
	test-collector test-debian test-faults test-java test-matrix test-native-matrix test-pairs test-prometheus test-pytango test-sdk-spans test-sdk-suite test-software types

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(STAMP): pyproject.toml constraints.txt requirements-dev.txt packages/*/pyproject.toml packages/tango-telemetry-stubs/src/tango-stubs/*.pyi
	$(PYTHON) tools/setup_venv.py $(VENV)
	@touch $@

setup: $(STAMP) ## make .venv with every package installed in place

demo: $(STAMP) ## one traced operation through a Leader to its Followers, drawn in the terminal
	$(BIN)/tango-telemetry demo $(ARGS)

test: $(STAMP) lint types layers docs ## everything CI runs
	$(BIN)/python -m pytest -n 3 --dist loadfile --ignore tests/faults --ignore tests/java $(PYTEST_ARGS)
	$(BIN)/python -m pytest -n 2 tests/faults $(PYTEST_ARGS)

test-prometheus: $(STAMP) ## a real Prometheus scrapes a real collector that real servers send metrics to
	$(BIN)/python -m pytest -s -rs tests/prometheus $(PYTEST_ARGS)

test-faults: $(STAMP) ## every fault with every way to end, over every exporter and provider; half an hour
	TANGO_TELEMETRY_TEST_FULL=on $(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)

test-logs: $(STAMP) ## ten thousand log records of each green mode, under load: every one has its handler's trace and span
	TANGO_TELEMETRY_TEST_LOGS=10000 $(BIN)/python -m pytest tests/integration/test_logs.py -k carries $(PYTEST_ARGS)

test-sdk-spans: $(STAMP) ## the integration tests with spans of the SDK's and calls in Python, nothing of either in C++
	TANGO_TELEMETRY_TEST_NATIVE_SPANS=off $(BIN)/python -m pytest -n 3 --dist loadfile tests/integration $(PYTEST_ARGS)

test-sdk-suite: $(STAMP) ## the OpenTelemetry SDK's own tests on the provider in C++
	$(BIN)/python tests/contract/sdk_suite.py $(ARGS)

test-pairs: $(STAMP) ## one trace between any two of PyTango 9.5, 10.1, 10.3 (and Debian's 9.3), client and server
	$(BIN)/python tests/pairs.py $(ARGS)

test-native-matrix: $(STAMP) ## the native package between any two PyTangos, client and server, and with Debian's TangoTest
	$(BIN)/python tests/native/matrix.py $(ARGS)

sanitized: $(STAMP) ## the native package's tests under AddressSanitizer and UndefinedBehaviorSanitizer
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/native/run_sanitized.sh

fuzz: $(STAMP) ## ten million inputs to each of the two C++ parsers under sanitizers, some twenty minutes (INPUTS=100000)
	TANGO_TELEMETRY_FUZZ_INPUTS=$(or $(INPUTS),10000000) $(BIN)/python -m pytest --durations 2 \
		tests/native/test_wire.py::test_fuzz_with_sanitizers tests/native/test_fuzz_spans.py $(PYTEST_ARGS)

test-matrix: $(STAMP) ## the integration tests on PyTango 9.5 to 10.3 and Python 3.10 to 3.14, and a table (ARGS="--python 3.11")
	$(BIN)/python tests/matrix.py $(ARGS)

test-pytango: $(STAMP) ## PyTango's own test-suite, without us and with us; half an hour
	$(BIN)/python tests/pytango_suite.py $(ARGS)

test-software: $(STAMP) ## other people's software without us, with us off and on, and a table (ARGS="--only itango --mode on")
	$(BIN)/python tests/software/run.py $(ARGS)

test-java: $(STAMP) ## a subscriber and a server in Java (JTango) beside ours; needs a JDK and Maven
	$(BIN)/python -m pytest -rs tests/java $(PYTEST_ARGS)

test-collector: $(STAMP) ## an OpenTelemetry Collector and Jaeger built from Go modules, protocols and faults, and a table (ARGS=--sizing)
	$(BIN)/python tests/collector/run.py $(ARGS)

test-debian: ## Debian 12, 13 and sid with their own PyTango, in roots by debootstrap (ARGS="--suite trixie")
	$(PYTHON) tests/debian.py $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(STAMP) ## what tracing costs, beside PyTango untouched and its built-in tracing (ARGS=--quick for a short run)
	$(BIN)/python benchmarks/calls.py $(ARGS)

bench-metrics: $(STAMP) ## what metrics add to a call on each side, on and off in turns in the same processes
	$(BIN)/python benchmarks/metrics.py $(ARGS)

bench-faults: $(STAMP) ## what a collector in trouble does to programs: untouched, with the built-in tracing, with ours
	$(BIN)/python benchmarks/faults.py $(ARGS)

bench-store: $(STAMP) ## the store of traces: spans in, lists, top and memory over ten million (ARGS="--spans 1000000")
	$(BIN)/python benchmarks/store.py $(ARGS)

dist: ## sdists and wheels of every package into dist/, checked, and installed from a local index (ARGS="--no-tests")
	$(PYTHON) tools/dist.py $(ARGS)

types: $(STAMP)
	$(BIN)/python -m mypy $(PACKAGES:%=packages/tango-telemetry-%/src)

docs: $(STAMP) ## build the documentation into build/site, without warnings
	$(BIN)/mkdocs build --strict --quiet

layers: $(STAMP)
	$(BIN)/lint-imports

soak: $(STAMP) ## ten minutes of 500 Tango calls a second, with collectors that fail at random
	TANGO_TELEMETRY_TEST_SOAK=600 TANGO_TELEMETRY_TEST_STRICT=on $(BIN)/python -m pytest -s tests/faults/test_soak.py

soak-spans: $(STAMP) ## ten million spans through the tracer provider in C++, with flat memory (ARGS=1000000 for fewer)
	$(BIN)/python benchmarks/soak_spans.py $(ARGS)

soak-calls: $(STAMP) ## ten minutes of eight threads through every kind of call, and no wrong parent (ARGS=60 for seconds)
	$(BIN)/python benchmarks/soak_calls.py $(ARGS)

bench-bytes: $(STAMP) ## the bytes of one command, read and write: to a collector, in files, in the spool
	$(BIN)/python benchmarks/wire_bytes.py $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
