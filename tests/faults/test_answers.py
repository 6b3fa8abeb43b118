"""What a collector, or whoever stands in its place, answers: what is kept, what is lost, and what is said
about it.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import receiver as receivers
from receiver import Fault, Receiver, partial_success, status

from .conftest import Program
from .test_delivery import SAY_STATS, account

PAGE = b"<html><head><style>p { color: red }</style></head><body>Please log in</body></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}
ABOUT_THE_PLACE = {
    "http": {
        "301": status(301, headers={"Location": "https://user:hush@portal/login?next=hush"}),
        "307": status(307, headers={"Location": "/elsewhere"}),
        "page": status(200, body=PAGE, headers=HTML),
        "page without a type": status(200, body=PAGE),
        "other JSON": status(200, body=b'{"database": "ok"}', headers={"Content-Type": "application/json"}),
        "nginx's 400": status(400, body=b"<html>The plain HTTP request was sent to HTTPS port", headers=HTML),
        "Go's 400": status(400, body=b"Client sent an HTTP request to an HTTPS server."),
        **{str(code): status(code) for code in (401, 403, 404, 405, 407, 410, 415, 421, 500, 501, 511)},
    },
    "grpc": {str(code): status(code) for code in (401, 403, 404, 500, 503)},
}
ABOUT_THE_DATA = {
    "http": {str(code): status(code, body=b"span 3 is malformed") for code in (400, 413, 422)},
    "grpc": {"400": status(400, body=b"span 3 is malformed"), "429": status(429, body=b"message too long")},
}
SHORT = [("http", "301"), ("http", "page"), ("http", "401"), ("grpc", "401"), ("grpc", "404")]
DATA = [(protocol, name) for protocol, found in ABOUT_THE_DATA.items() for name in found]


@pytest.mark.parametrize("spool", [False, True], ids=["memory", "spool"])
def test_an_answer_about_the_place_deletes_nothing(
    receiver: Receiver, program: Callable[..., Program], spool: bool, tmp_path: Path
) -> None:
    """One process meets all of them in turn; each is said once, without what is secret, and all spans arrive
    at last.
    """
    faults = list(ABOUT_THE_PLACE[receiver.protocol].values())
    receiver.fault = faults[0]
    body = """
    spans(30)
    say("made")
    sys.stdin.readline()
    deadline = time.monotonic() + 20
    while pipeline.pipeline_stats().delivered < 30 and time.monotonic() < deadline:
        pipeline.flush(1)
    """
    settings = {"spool_dir": str(tmp_path)} if spool else {}
    running = program(
        body + SAY_STATS.replace("\n", "\n    "),
        receiver.protocol,
        receiver.endpoint,
        schedule_delay=0.05,
        retry_initial=0.02,
        retry_max=0.05,
        **settings,
    )
    running.wait_for("made")
    for fault in faults:
        receiver.fault = fault
        # Not the one that may be on its way while the fault changes, and the next one behind it.
        receiver.wait_for_requests(receiver.requests + 3)
    receiver.fault = None
    receiver.wait_for(30)
    ended = running.end()
    assert account(ended.output[-1]) == {
        "made": 30, "delivered": 30, "queued": 0, "spooled": 0, "dropped": 0
    }, ended.errors  # fmt: skip
    assert sorted(span.name for span in receiver.spans) == sorted(f"span {n}" for n in range(30))
    reasons = re.findall(r"\((HTTP status [^;]*?|gRPC status \w+) from", ended.errors)
    assert len(reasons) == len(set(reasons)) >= 5
    assert "hush" not in ended.errors
    assert ended.errors.count("works again") == 1


@pytest.mark.parametrize(("protocol", "answer"), SHORT)
def test_a_short_script_says_who_answered_what(
    protocol: str, answer: str, program: Callable[..., Program]
) -> None:
    fault = ABOUT_THE_PLACE[protocol][answer]
    with Receiver(protocol, fault=fault) as made:
        ended = program("spans(1)", protocol, made.endpoint, shutdown_timeout=5.0).end()
    assert ended.returncode == 0
    assert f"127.0.0.1:{made.port}" in ended.errors
    expected = f"HTTP status {fault.code}" if protocol == "http" else "gRPC status "
    assert expected in ended.errors
    assert "1 spans for" in ended.errors
    if b"log in" in fault.body:
        assert "Please log in" in ended.errors
        assert "color" not in ended.errors
    if dict(fault.headers).get("Location", "").startswith("https"):
        assert "redirected to https://***@portal/login?next=***" in ended.errors


@pytest.mark.parametrize(("protocol", "answer"), DATA)
def test_an_answer_about_the_data_is_said_with_the_servers_words(
    protocol: str, answer: str, program: Callable[..., Program]
) -> None:
    fault = ABOUT_THE_DATA[protocol][answer]
    with Receiver(protocol, fault=fault) as made:
        ended = program("spans(3)\npipeline.flush(10)\n" + SAY_STATS, protocol, made.endpoint).end()
        assert made.requests == 5  # all three, and in halves: 1, 2, 1, 1
    assert account(ended.output[-1])["dropped"] == 3
    (line,) = [line for line in ended.errors.splitlines() if "refused" in line]
    assert "3 spans" in line
    assert fault.body.decode() in line
    assert f"127.0.0.1:{made.port}" in line


def test_what_a_collector_refuses_of_a_request_is_said(
    receiver: Receiver, program: Callable[..., Program]
) -> None:
    receiver.fault = partial_success(2, "two are \x1b[31mtoo old\nand hush-token")
    body = """
    wire = pipeline.WireSettings(headers=(("authorization", "Bearer hush-token"),))
    pipeline.configure_pipelines(pipeline.PipelineSettings(wire=wire))
    pipe = pipeline.get_pipeline(pipeline.Endpoint(sys.argv[1], sys.argv[2].replace("127.0.0.1", "localhost")))
    tracer = provider().get_tracer("test")
    spans(5)
    pipeline.flush(10)
    """ + SAY_STATS.replace("\n", "\n    ")  # noqa: E501
    ended = program(body, receiver.protocol, receiver.endpoint).end()
    figures = account(ended.output[-1])
    assert (figures["delivered"], figures["dropped"]) == (3, 2)
    (line,) = ended.errors.splitlines()
    assert "2 spans were refused" in line
    assert "two are [31mtoo old and ***" in line


def test_a_second_different_loss_is_said_too(receiver: Receiver, program: Callable[..., Program]) -> None:
    body = """
    for _ in range(3):
        spans(2)
        pipeline.flush(10)
    say("first")
    sys.stdin.readline()
    for _ in range(3):
        spans(2)
        pipeline.flush(10)
    """
    receiver.fault = status(400, body=b"the first reason")
    running = program(body, receiver.protocol, receiver.endpoint)
    running.wait_for("first")
    receiver.fault = partial_success(1, "the second reason")
    running.say()
    ended = running.end()
    assert ended.errors.count("the first reason") == 1
    assert ended.errors.count("the second reason") == 1


class Forgetful:
    """A firewall between a program and a receiver.

    Connections that were open at `forget()` are silently dropped.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._generation = 0
        self.connections = 0
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self) -> None:
        self._generation += 1

    def _accept(self) -> None:
        while True:
            try:
                here = self._listener.accept()[0]
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._port))
            self.connections += 1
            self._ends += [here, there]
            for source, target in ((here, there), (there, here)):
                threading.Thread(
                    target=self._pump, args=(source, target, self._generation), daemon=True
                ).start()

    def _pump(self, source: socket.socket, target: socket.socket, generation: int) -> None:
        try:
            while data := source.recv(65536):
                if generation == self._generation:
                    target.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            end.close()


@pytest.fixture
def firewall(receiver: Receiver) -> Iterator[Forgetful]:
    made = Forgetful(receiver.port)
    yield made
    made.close()


def test_a_connection_that_is_silently_dropped(
    receiver: Receiver, firewall: Forgetful, program: Callable[..., Program]
) -> None:
    """Nothing comes back on it, not even an end: only the next connection works."""
    body = """
    spans(1, "first")
    pipeline.flush(10)
    for _ in range(2):
        say("sent")
        sys.stdin.readline()
        spans(1, "next")
    sys.stdin.readline()
    """
    running = program(
        body,
        receiver.protocol,
        receiver.endpoint.replace(str(receiver.port), str(firewall.port)),
        schedule_delay=0.05,
        export_timeout=0.5,
        retry_initial=0.05,
    )
    for count in (1, 2):
        receiver.wait_for(count)
        running.wait_for("sent")
        firewall.forget()
        running.say()
    receiver.wait_for(3, 10)
    assert running.end().returncode == 0
    assert firewall.connections >= 3


def test_a_failure_is_followed_by_a_new_connection(
    receiver: Receiver, firewall: Forgetful, program: Callable[..., Program]
) -> None:
    """A load balancer's name may lead to a machine that works, and the old connection never will."""
    receiver.fault = status(503)
    body = "spans(1)\nsys.stdin.readline()"
    running = program(
        body,
        receiver.protocol,
        receiver.endpoint.replace(str(receiver.port), str(firewall.port)),
        schedule_delay=0.05,
        retry_initial=0.05,
        retry_max=0.1,
    )
    receiver.wait_for_requests(4)
    assert firewall.connections >= 3
    receiver.fault = None
    receiver.wait_for(1)
    assert running.end().returncode == 0


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_certificate_that_comes_late_is_read(
    protocol: str, program: Callable[..., Program], tmp_path: Path
) -> None:
    """First there is none, then it is another authority's, then the right one: each attempt reads the
    file.
    """
    file = tmp_path / "authority.pem"
    body = f"""
    wire = pipeline.WireSettings(certificate_file={str(file)!r})
    pipeline.configure_pipelines(pipeline.PipelineSettings(wire=wire, retry_initial=0.05, retry_max=0.1))
    pipe = pipeline.get_pipeline(pipeline.Endpoint(sys.argv[1], sys.argv[2].replace("127.0.0.1", "localhost")))
    tracer = provider().get_tracer("test")
    spans(1)
    for word in ("none", "wrong"):
        pipeline.flush(5)
        say(word)
        sys.stdin.readline()
    deadline = time.monotonic() + 10
    while not pipeline.flush(1) and time.monotonic() < deadline:
        pass
    """  # noqa: E501
    with Receiver(protocol, tls=True) as made:
        running = program(body, protocol, made.endpoint)
        running.wait_for("none")
        file.write_bytes(_another_authority())
        running.say()
        running.wait_for("wrong")
        file.write_bytes(receivers.CERTIFICATE.read_bytes())
        running.say()
        made.wait_for(1)
        ended = running.end()
    assert ended.errors.count("works again") == 1
    assert "authority.pem" in ended.errors


def _another_authority() -> bytes:
    import certifi

    return Path(certifi.where()).read_bytes()


@pytest.mark.parametrize("fault", [status(401), status(404), status(200, body=PAGE, headers=HTML)])
def test_the_exit_is_bounded_all_the_same(
    fault: Fault, program: Callable[..., Program], tmp_path: Path
) -> None:
    with Receiver("http", fault=fault) as made:
        begin = time.monotonic()
        ended = program("spans(2000)", "http", made.endpoint, spool_dir=str(tmp_path)).end(30)
    assert ended.returncode == 0
    assert time.monotonic() - begin < 15
    assert list(tmp_path.rglob("*.otlp"))  # for the next process
