"""`tango-telemetry serve`: see traces live in the browser, with nothing else to set up."""

from __future__ import annotations

import argparse
import secrets
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

from ..viewer import selection
from ..viewer.reader import Problems

_FLUSH_SECONDS = 0.2
_POLL_SECONDS = 0.5
_TRIM_SECONDS = 60.0
_DAY = 86400.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "serve",
        help="a collector at hand, and a page that shows traces as they come",
        description="Take OTLP over HTTP and gRPC on the standard ports, watch folders of the `file` "
        "exporter, and show it all "
        "in the browser. For one user at one machine, not for production.",
        epilog="Exit status: 0 stopped by Ctrl-C, 1 a port or the store cannot be used, 2 wrong usage.",
    )
    parser.add_argument("places", nargs="*", type=Path, metavar="DIR", help="folders to watch as well")
    parser.add_argument(
        "--port", type=int, default=4318, metavar="N", help="for the page and OTLP over HTTP (default: 4318)"
    )
    parser.add_argument(
        "--grpc-port", type=int, default=4317, metavar="N", help="for OTLP over gRPC (default: 4317)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="listen elsewhere than on loopback; a token is needed then",
    )
    parser.add_argument(
        "--token",
        default="",
        help="that callers must show (default elsewhere than on loopback: a new one, printed)",
    )
    parser.add_argument(
        "--store",
        type=Path,
        metavar="FILE",
        help="keep the spans in this file (default: as long as this runs)",
    )
    parser.add_argument(
        "--max-size",
        type=int,
        default=4096,
        metavar="MB",
        help="drop the oldest spans above this (default: 4096)",
    )
    parser.add_argument(
        "--max-age", type=float, default=7.0, metavar="DAYS", help="drop spans older than this (default: 7)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; give the exit status."""
    try:
        import uvicorn

        from ..store.database import Store, StoreError
        from .app import make_app
        from .receiver import start_grpc
    except ImportError as error:
        print(f"tango-telemetry serve: {error.name} is missing: pip install {error.name}", file=sys.stderr)
        return 1
    loopback = arguments.host in _LOOPBACK
    token = arguments.token or ("" if loopback else secrets.token_urlsafe(24))
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-serve-") as folder:
        path = arguments.store or Path(folder) / "spans.duckdb"
        try:
            store = Store(path, _say, arguments.max_size << 20, arguments.max_age * _DAY)
        except StoreError as error:
            _say(str(error))
            return 1
        with store:
            listener = _listen(arguments.host, arguments.port)
            if listener is None:
                _say(
                    f"port {arguments.port} of {arguments.host} is taken (by a collector?): --port N takes "
                    "another"
                )
                return 1
            try:
                grpc_server = start_grpc(_address(arguments.host, arguments.grpc_port), store.add, token)
            except RuntimeError:
                listener.close()
                _say(
                    f"port {arguments.grpc_port} of {arguments.host} is taken (by a collector?): --grpc-port "
                    "N takes another"
                )
                return 1
            url = (
                f"http://{_address('localhost' if loopback else arguments.host, listener.getsockname()[1])}/"
            )
            print(f"page:       {url}{f'?token={token}' if token else ''}")
            print(f"OTLP http:  {url}v1/traces")
            if grpc_server is not None:
                print(
                    "OTLP grpc:  "
                    f"grpc://{_address('localhost' if loopback else arguments.host, arguments.grpc_port)}"
                )
            else:
                print("OTLP grpc:  not without grpcio: pip install grpcio")
            for place in arguments.places:
                print(f"folder:     {place}")
            if token:
                print(f"token:      OTEL_EXPORTER_OTLP_HEADERS='authorization=Bearer {token}'")
            print("Ctrl-C stops it.", flush=True)
            stop = threading.Event()
            worker = threading.Thread(
                target=_work, args=(store, arguments.places, stop), name="store", daemon=True
            )
            worker.start()
            config = uvicorn.Config(
                make_app(store, token, loopback),
                log_level="error",
                access_log=False,
                timeout_graceful_shutdown=2,
                lifespan="off",
            )
            # SIGTERM ends it as Ctrl-C does: the store is closed, the other threads stop.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                uvicorn.Server(config).run(sockets=[listener])
            except KeyboardInterrupt:
                # uvicorn raises the signal once more when it has shut down in order.
                pass
            finally:
                if grpc_server is not None:
                    grpc_server.stop(1).wait()
                stop.set()
                worker.join(10)
    return 0


def _work(store: object, places: list[Path], stop: threading.Event) -> None:
    """Write what came in, read what is new in the folders, keep the store within its bounds."""
    from ..store.database import Store, StoreDamagedError
    from ..store.feed import Feeder

    assert isinstance(store, Store)
    feeder = Feeder(store, places, Problems(report=selection.reporter("serve")), live=True)
    waited = trimmed = 0.0
    while not stop.wait(_FLUSH_SECONDS):
        waited += _FLUSH_SECONDS
        trimmed += _FLUSH_SECONDS
        try:
            store.flush()
            if places and waited >= _POLL_SECONDS:
                waited = 0.0
                feeder.poll()
            if trimmed >= _TRIM_SECONDS:
                trimmed = 0.0
                store.trim()
        except StoreDamagedError:
            # Said, set aside, and a new one is there; the folders are read from their beginning.
            feeder = Feeder(store, places, Problems(report=selection.reporter("serve")), live=True)


def _listen(host: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Whoever reads the lines below may send at once; it waits until the rest stands.
        listener.listen(128)
    except (OSError, OverflowError):
        listener.close()
        return None
    return listener


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _say(message: str) -> None:
    print(f"tango-telemetry serve: {message}", file=sys.stderr, flush=True)
