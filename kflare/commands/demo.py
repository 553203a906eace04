"""A first look, in about a minute: a week of forecasts of a made-up Sun, as an office makes them."""

import argparse
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event

from kflare.commands import command_line
from kflare.errors import SettingError
from kflare.io.atomic import make_folder


def _demo(args: argparse.Namespace) -> None:
    make_folder(args.folder)
    if any(args.folder.iterdir()):
        raise SettingError(f"`{args.folder}` is there already: name a new folder, or delete it")
    began = time.monotonic()
    print("A week of forecasts of a Sun that is made up. Starting a server of the released models ...", flush=True)
    command_line.quiet_tensorflow()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from kflare.models.released import released_models
    from kflare.operations.demonstration import CAVEAT, Demonstration
    from kflare.operations.forecast import Forecast
    from kflare.operations.ledger import Ledger
    from kflare.serving import Server

    with Server(folder=released_models(), port=0) as server:
        address = f"127.0.0.1:{server.port}"
        demo = Demonstration.prepare(args.folder, now=args.until or datetime.now(UTC), server=address)
        with Ledger(demo.settings.ledger.url) as ledger:
            for cycle in demo.run(ledger):
                assert isinstance(cycle, Forecast), cycle.reason
                chances = ", ".join(f"{name} {one.frequency}" for name, one in cycle.full_disk.items() if name != "X")
                print(f"{cycle.issue:%Y-%m-%d %H:%M} UTC  regions: {len(cycle.regions)}  {chances}", flush=True)
            page = demo.publish_week(ledger)
            print("", *demo.words(ledger), CAVEAT, sep="\n")
        print(f"\nDone in {time.monotonic() - began:.0f} s. Open in a browser: {page.as_uri()}\n\nWhat to do next:")
        image = f"kflare predict {demo.newest_image()} --server {address}"
        ledger_url = f"sqlite:///{args.folder / 'ledger.sqlite'}"
        print(f"  {'kflare serve' if args.no_serve else image}")
        print(f"  kflare verify --ledger {ledger_url} --class M --output {args.folder / 'report'}")
        print(
            "  kflare forecast --print-settings > kflare.toml  # then the real Sun: kflare forecast --once", flush=True
        )
        if not args.no_serve:
            print(f"\nThe models are served at {address} until Ctrl-C.", flush=True)
            with suppress(KeyboardInterrupt):
                Event().wait()


main = command_line.Command("demo", __doc__, _demo)
