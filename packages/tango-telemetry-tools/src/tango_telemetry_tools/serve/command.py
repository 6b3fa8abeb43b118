"""`tango-telemetry serve`: see traces live in the browser, with nothing else to set up."""

from __future__ import annotations

import argparse
import logging
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from ..store.database import Store

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
        import uvicorn  # noqa: F401  asked for here, so that what is missing is said before anything starts

        from ..store.database import Store, StoreError
    except ImportError as error:
        _say(f"{error.name} is missing: pip install {error.name}")
        return 1
    with tempfile.TemporaryDirectory(prefix="tango-telemetry-serve-") as folder:
        path = arguments.store or Path(folder) / "spans.duckdb"
        try:
            store = Store(path, _say, arguments.max_size << 20, arguments.max_age * _DAY)
        except StoreError as error:
            _say(str(error))
            return 1
        with store:
            return _serve(arguments, store)


def _serve(arguments: argparse.Namespace, store: Store) -> int:
    # All imports come before the first thread: one that Ctrl-C interrupts would have the thread wait for it.
    from .app import make_app
    from .keeper import keep
    from .receiver import start_grpc

    loopback = arguments.host in _LOOPBACK
    token = arguments.token or ("" if loopback else secrets.token_urlsafe(24))
    listener = _listen(arguments.host, arguments.port)
    if listener is None:
        return _taken(arguments.host, arguments.port, "--port")
    try:
        grpc_server = start_grpc(_address(arguments.host, arguments.grpc_port), store.add, token)
    except RuntimeError:
        listener.close()
        return _taken(arguments.host, arguments.grpc_port, "--grpc-port")
    announce = partial(_announce, arguments, listener.getsockname()[1], token, grpc_server is not None)
    server = _make_server(make_app(store, token, loopback), announce)
    stop = threading.Event()
    worker = threading.Thread(target=keep, args=(store, arguments.places, stop), name="store", daemon=True)
    worker.start()
    # SIGTERM ends it as Ctrl-C does: the store is closed, the other threads stop.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        # uvicorn raises the signal once more when it has shut down in order.
        pass
    finally:
        stop.set()
        if grpc_server is not None:
            grpc_server.stop(0.5).wait()
        worker.join(10)
    return 0


def _announce(arguments: argparse.Namespace, port: int, token: str, has_grpc: bool) -> None:
    # What a browser on another machine can be told; an address that means all of them is none.
    name = "localhost" if arguments.host in _LOOPBACK else arguments.host
    if name in ("0.0.0.0", "::"):
        name = socket.gethostname()
    url = f"http://{_address(name, port)}/"
    print(f"page:       {url}{f'?token={token}' if token else ''}")
    print(f"OTLP http:  {url}v1/traces")
    if has_grpc:
        print(f"OTLP grpc:  grpc://{_address(name, arguments.grpc_port)}")
    else:
        print("OTLP grpc:  not without grpcio: pip install grpcio")
    for place in arguments.places:
        print(f"folder:     {place}")
    if token:
        print(f"token:      OTEL_EXPORTER_OTLP_HEADERS='authorization=Bearer {token}'")
    print("Ctrl-C stops it.", flush=True)


def _make_server(app: ASGIApp, announce: Callable[[], None]) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # From here on Ctrl-C ends it in order.
            announce()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # A request that never ends is cut off then, which uvicorn tells in 40 lines.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1, lifespan="off")
    )


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


def _taken(host: str, port: int, option: str) -> int:
    _say(f"port {port} of {host} is taken (by a collector?): {option} N takes another")
    return 1


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _say(message: str) -> None:
    print(f"tango-telemetry serve: {message}", file=sys.stderr, flush=True)
