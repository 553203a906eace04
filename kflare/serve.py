"""Serve SavedModels over gRPC on this machine: the embedded server, for where TensorFlow Serving is not installed.

    python -m kflare.serve --models savedmodels
    python -m kflare.serve --config serving/models.config --models savedmodels --port 8500

New versions are taken up, and old ones taken back, as their folders appear and vanish. SIGTERM or Ctrl-C finishes the
requests in hand and ends.
"""

import argparse
import gc
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kflare import command_line
from kflare.errors import SettingError

if TYPE_CHECKING:
    from kflare.serving.server import Server

__all__ = ["main"]

_DEFAULT_MODELS = Path("savedmodels")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m kflare.serve`` until it is told to stop; returns the exit status."""
    return command_line.run(_parser(), _serve, argv)


def _serve(options: argparse.Namespace) -> None:
    if options.models is None and options.config is None:
        options.models = _DEFAULT_MODELS
    if options.models is not None and not options.models.is_dir():
        raise SettingError(f"no folder {options.models}: `--models` must hold <name>/<version>/saved_model.pb")
    logging.basicConfig(format="kflare.serve: %(message)s", level=logging.INFO if options.debug else logging.WARNING)
    stop = threading.Event()
    handlers = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _run(options, stop)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _run(options: argparse.Namespace, stop: threading.Event) -> None:
    from kflare.serving.models_config import read_models_config
    from kflare.serving.server import Server, check_address

    check_address(options.host, options.port)
    if not options.debug:
        command_line.quiet_tensorflow()
    gc.freeze()  # what is imported stays for good: freeing an unloaded version need not look through it each time
    models = [] if options.config is None else read_models_config(options.config, folder=options.models)
    server = Server(
        models,
        folder=options.models,
        discover=options.models if options.config is None else None,
        host=options.host,
        port=options.port,
        poll_seconds=options.poll_seconds,
        tensor_content=options.tensor_content,
    )
    server.start()
    try:
        sys.stderr.write(f"kflare.serve: {_ready(server)}\n")
        sys.stderr.flush()
        logging.getLogger("kflare").setLevel(logging.INFO)  # from here on, every version that comes or goes
        stop.wait()
    finally:
        server.stop()


def _ready(server: "Server") -> str:
    available = server.models.available()
    served = ", ".join(f"{name} ({', '.join(map(str, numbers))})" for name, numbers in available.items() if numbers)
    absent = ", ".join(name for name, numbers in available.items() if not numbers)
    waiting = f"; waiting for a version of {absent}" if absent else ""
    return f"listening on {server.address}, serving {served}{waiting}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kflare.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="folder of the models, DIR/<name>/<version>/; with --config, where that file's models lie on this machine "
        f"(default, without --config: {_DEFAULT_MODELS})",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TensorFlow Serving's models.config: names, version policies, labels",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument("--port", type=_port, default=8500, help="port, 0 for any free one (default: %(default)s)")
    parser.add_argument(
        "--poll-seconds",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="how often to look for new and vanished versions, 0 for never (default: %(default)g s)",
    )
    parser.add_argument(
        "--tensor-content",
        action="store_true",
        help="answer with raw bytes instead of lists of numbers: faster for heat maps, but not every client reads it",
    )
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must lie in 0..65535, got {number}")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more seconds, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
