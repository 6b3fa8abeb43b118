"""gateway.py: its answers and its own spans, and with telemetry on the device's spans in the traces of the
web requests.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from spans import read_spans
from support import HERE, SPANS, find_port, run_motor, run_program, wait_until

ROUNDS = 20


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], list[dict]]:
    """The answers to some requests, and the gateway's own spans."""
    folder = tmp_path_factory.mktemp("gateway")
    port = find_port()
    own = folder / "own.jsonl"
    answers: list[object] = []
    with run_motor(folder / "motor.log") as motor:
        command = (
            sys.executable,
            "-m",
            "uvicorn",
            "--app-dir",
            str(HERE),
            "gateway:app",
            "--port",
            str(port),
        )
        environment = {"GATEWAY_MOTOR": motor, "GATEWAY_SPANS": str(own)}
        with run_program(folder / "gateway.log", *command, environment=environment) as process:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

                def is_up() -> bool:
                    assert process.poll() is None, (folder / "gateway.log").read_text()
                    try:
                        return client.get("/openapi.json").status_code == 200
                    except httpx.TransportError:
                        return False

                wait_until(is_up, "the gateway")
                for number in range(ROUNDS):
                    answers.append(client.put(f"/position/{number}").json())
                    answers.append(client.get("/position").json())
                refused = client.put("/position/1000")
                answers.append((refused.status_code, "beyond the limits" in refused.text))
        # Uvicorn ends by the signal that it was sent, after its orderly shutdown.
        answers.append(process.returncode in (0, -15))
    return answers, [json.loads(line) for line in own.read_text().splitlines()]


def test_answers(run: tuple[list[object], list[dict]]) -> None:
    expected: list[object] = [{"position": float(number)} for number in range(ROUNDS) for _ in range(2)]
    assert run[0] == [*expected, (422, True), True]


def test_own_spans(run: tuple[list[object], list[dict]]) -> None:
    """What the gateway makes itself is what it makes without us."""
    own = Counter(span["name"] for span in run[1])
    assert own["GET /position"] == ROUNDS
    assert own["PUT /position/{value}"] == own["move"] == ROUNDS + 1


def test_one_trace(run: tuple[list[object], list[dict]]) -> None:
    """The motor's spans belong to the web requests' traces."""
    if SPANS not in os.environ:
        pytest.skip("telemetry is not on")
    requests = {
        span["context"]["trace_id"].removeprefix("0x") for span in run[1] if span["name"] == "GET /position"
    }
    motor = {
        span["traceId"]
        for span in read_spans(Path(os.environ[SPANS]))
        if span["name"] == "Motor.read position"
    }
    assert len(requests) == ROUNDS
    assert requests <= motor
