"""One operational cycle on 4096² data with about ten regions: from the first request to JSOC to the published site.

Everything is real but the Sun: HTTP to stand-ins on loopback, gRPC to an embedded server of `savedmodels`, SQLite.
"""

import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
# The world is that of the tests; tf-keras-vis installs a package `tests`, which would be found first.
sys.modules["tests"] = ModuleType("tests")
sys.modules["tests"].__path__ = [str(ROOT / "tests")]


def main() -> None:
    from kflare.commands.command_line import quiet_tensorflow
    from tests.operations.world import HOUR, World

    quiet_tensorflow()
    from kflare.operations.event_log import EventLog
    from kflare.operations.forecast import Forecast
    from kflare.operations.ledger import Ledger
    from kflare.operations.running import run_once
    from kflare.serving import Server

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from kflare.synthetic.sun import SyntheticSun

    start = datetime(2014, 3, 1, tzinfo=UTC)
    issue = start + timedelta(days=2, hours=3)
    models = ROOT / "savedmodels"
    with tempfile.TemporaryDirectory() as name, World(SyntheticSun(start, 4, seed=8, activity=4.0), size=4096) as world:
        world.observe(issue - HOUR)
        world.tell(issue)
        with Server(folder=models, port=0) as server:
            settings = world.settings(Path(name), server=f"127.0.0.1:{server.port}")
            with Ledger(settings.ledger.url) as ledger:
                begun = time.monotonic()
                done = run_once(
                    issue, settings, ledger=ledger, log=EventLog(settings.log.path), now=issue + timedelta(minutes=1)
                )
                seconds = time.monotonic() - begun
        events = [json.loads(line) for line in Path(settings.log.path).read_text().splitlines()]
    assert isinstance(done.cycle, Forecast), done.cycle
    regions = done.cycle.regions
    print(f"4096², {len(regions)} regions ({sum(r.status == 'forecast' for r in regions)} forecast): {seconds:.1f} s")
    for event in events:
        if "seconds" in event:
            what = f"{event['event']} {event.get('what', '')}".strip()
            print(f"  {what:20s}{event['seconds']:8.2f} s")
    print(f"rung: {done.cycle.rung}; not published: {done.unpublished or 'nothing'}")


if __name__ == "__main__":
    main()
