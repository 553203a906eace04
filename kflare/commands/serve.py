"""Serve SavedModels on this machine: the embedded server, for where TensorFlow Serving is not installed."""

import argparse
import gc
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from kflare.commands import command_line
from kflare.errors import SettingError
from kflare.models.released import released_models

if TYPE_CHECKING:
    from kflare.serving.server.embedded_server import Server

_DEFAULT_MODELS = Path("savedmodels")


def _serve(options: argparse.Namespace) -> None:
    if options.models is None and options.config is None:
        options.models = _DEFAULT_MODELS if _DEFAULT_MODELS.is_dir() else released_models()
        print(f"{options.prog}: serves the models in {options.models}", file=sys.stderr, flush=True)
    if options.models is not None and not options.models.is_dir():
        raise SettingError(f"no folder {options.models}: `--models` must hold <name>/<version>/saved_model.pb")
    logging.basicConfig(format=f"{options.prog}: %(message)s", level=logging.INFO if options.debug else logging.WARNING)
    events: SimpleQueue[BaseException | str] = SimpleQueue()  # signal handlers may put into it at any moment
    signals = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.signal(number, lambda *_: events.put("stop")) for number in signals}
    try:
        _run(options, events)
    finally:
        gc.enable()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _run(options: argparse.Namespace, events: "SimpleQueue[BaseException | str]") -> None:
    from kflare.models.signing import read_public_key
    from kflare.serving.server.allocator import use_one_arena
    from kflare.serving.server.config_files import BatchingParameters, read_models_config
    from kflare.serving.server.embedded_server import Server, check_address
    from kflare.serving.server.limits import Limits
    from kflare.serving.server.servable import Trust
    from kflare.serving.server.tls import ServerTls

    begun = time.monotonic()
    use_one_arena()
    check_address(options.host, options.port)
    gc.disable()  # until it has started, of which it took a tenth
    if not options.debug:
        command_line.quiet_tensorflow()
        # It advises against sessions, which are what TensorFlow Serving runs models in.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    gc.freeze()  # the modules stay for good: the collection after unloading a version need not visit them
    models = [] if options.config is None else read_models_config(options.config, folder=options.models)
    message, work, run = (mib * 2**20 for mib in (options.max_message_mib, options.max_work_mib, options.max_run_mib))
    limits = Limits(message, options.max_rows, max(work, message), run, options.max_requests)
    key = options.trusted_key and read_public_key(options.trusted_key)
    trust = Trust(unpublished=options.allow_unpublished, any_operation=options.allow_any_operation, key=key)
    batching = options.batching_parameters_file and BatchingParameters.read(options.batching_parameters_file)
    given = {name: getattr(options, name) for name in ("host", "port", "poll_seconds", "tensor_content")}
    given |= {"own_batching": options.enable_per_model_batching_parameters, "rest_port": options.rest_api_port}
    given["metrics_path"] = _metrics_path(options.monitoring_config_file)
    tls = options.ssl_config_file and ServerTls(options.ssl_config_file)
    server = Server(models, folder=options.models, trust=trust, batching=batching, limits=limits, tls=tls, **given)
    if options.config is None:
        what = ", ".join(sorted(one.name for one in options.models.iterdir() if one.is_dir() and one.name[0] != "."))
    else:
        what = f"what {options.config} names"
    if what:
        print(f"{options.prog}: loads {what}", file=sys.stderr, flush=True)
    _allow_many_connections()
    # In a thread of its own: a signal is heard while TensorFlow loads, where Python has no say.
    threading.Thread(target=_start, args=(server, events), name="kflare-start", daemon=True).start()
    event = events.get()
    if isinstance(event, BaseException):
        raise event
    if event == "stop":
        sys.stderr.write(f"{options.prog}: stopped while models were loaded\n")
        sys.stderr.flush()
        os._exit(0)  # the load would have to come to its end first
    try:
        sys.stderr.write(f"{options.prog}: {_ready(server)}; loaded in {time.monotonic() - begun:.0f} s\n")
        sys.stderr.flush()
        logging.getLogger("kflare").setLevel(logging.INFO)  # from here on, every version that comes or goes
        events.get()
    finally:
        server.stop(options.drain_seconds)


def _start(server: "Server", events: "SimpleQueue[BaseException | str]") -> None:
    try:
        server.start()
    except BaseException as error:  # noqa: BLE001 - it is raised again where the server is waited for
        events.put(error)
    else:
        events.put("started")
    gc.enable()


def _metrics_path(monitoring_config: Path | None) -> str | None:
    """Where the metrics are, from TensorFlow Serving's `monitoring.config`; without one at its default place."""
    from kflare.serving.messages.declared_messages import CONFIG_MESSAGES, read_config
    from kflare.serving.rest.rest_server import METRICS_PATH

    if monitoring_config is None:
        return METRICS_PATH
    config = read_config(monitoring_config, CONFIG_MESSAGES["MonitoringConfig"], what="monitoring configuration")
    prometheus = config.prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


def _allow_many_connections() -> None:
    """Take as many open files as the system allows: each connection is one, and 1024 are soon used up."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _ready(server: "Server") -> str:
    available = server.models.available()
    served = ", ".join(f"{name} ({', '.join(map(str, numbers))})" for name, numbers in available.items() if numbers)
    absent = ", ".join(name for name, numbers in available.items() if not numbers)
    waiting = f"; waiting for a version of {absent}" if absent else ""
    also = f" and {server.rest_address}" if server.rest_address else ""
    return f"listening on {server.address}{also}, serving {served}{waiting}"


main = command_line.Command("serve", __doc__, _serve)
