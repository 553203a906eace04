"""One operational cycle on 4096² data with about ten regions: from the first request to JSOC to the published site.

Everything is real but the Sun: HTTP to stand-ins on loopback, gRPC to an embedded server of `savedmodels`, SQLite.
"""

import atexit
import shutil
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

from benchmark import Row, Timed


def ours(_: Path) -> Timed:
    import kflare

    root = Path(kflare.__file__).parents[1]
    # The world is that of the tests; tf-keras-vis installs a package `tests`, which would be found first.
    sys.modules["tests"] = ModuleType("tests")
    sys.modules["tests"].__path__ = [str(root / "tests")]
    from kflare.commands.command_line import quiet_tensorflow

    quiet_tensorflow()
    from kflare.operations.event_log import EventLog
    from kflare.operations.forecast import Forecast
    from kflare.operations.ledger import Ledger
    from kflare.operations.running import run_once
    from kflare.serving import Server
    from tests.operations.world import HOUR, SyntheticSun, World

    start = datetime(2014, 3, 1, tzinfo=UTC)
    issue = start + timedelta(days=2, hours=3)
    stack = ExitStack()
    atexit.register(stack.close)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    world = stack.enter_context(World(SyntheticSun(start, 4, seed=8, activity=4.0), size=4096))
    world.observe(issue - HOUR)
    world.tell(issue)
    server = stack.enter_context(Server(folder=root / "savedmodels", port=0))
    settings = world.settings(folder, server=f"127.0.0.1:{server.port}")

    def anew() -> None:
        shutil.rmtree(folder)
        folder.mkdir()

    def run() -> None:
        with Ledger(settings.ledger.url) as ledger:
            log, now = EventLog(settings.log.path), issue + timedelta(minutes=1)
            cycle = run_once(issue, settings, ledger=ledger, log=log, now=now).cycle
        assert isinstance(cycle, Forecast), cycle
        assert sum(one.status == "forecast" for one in cycle.regions) > 5

    return Timed(run, before=anew)


ROWS = [Row("cycle/4096", "a cycle on 4096² data with ten regions, from requests to pages", ours, "cycle",
            rounds=2)]  # fmt: skip
