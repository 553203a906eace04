"""Replay a month of forecasting in which everything goes wrong, and print what came of each fault.

Needs the test extra, and PostgreSQL (or KFLARE_POSTGRESQL). Takes about ten minutes on two quiet cores.
"""

import argparse
import sys
import tempfile
import uuid
from pathlib import Path
from types import ModuleType

# The world that is replayed is that of the tests, which are no package of their own. tf-keras-vis installs one by
# that name, which would be found first.
sys.modules["tests"] = ModuleType("tests")
sys.modules["tests"].__path__ = [str(Path(__file__).resolve().parents[1] / "tests")]


def main() -> None:
    from sqlalchemy import create_engine, text

    from kflare.commands.command_line import quiet_tensorflow
    from tests.operations.replay import Replay, month
    from tests.operations.toys import write_toys
    from tests.postgresql import running

    parser = argparse.ArgumentParser(prog="tools/replay", description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--kills", type=int, default=20, help="cycles killed at a random moment (default: 20)")
    parser.add_argument("--size", type=int, default=256, help="width of the images (default: 256)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sqlite", action="store_true", help="the ledger is a file (default: of PostgreSQL)")
    parser.add_argument(
        "--trained", type=Path, metavar="DIR",
        help="defn-c and defn-m of kflare.fit, such as of 79 features, in place of the toys (docs/reproduce.md)",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="keep everything here (default: a temporary folder)")
    args = parser.parse_args()
    quiet_tensorflow()
    with tempfile.TemporaryDirectory() as temporary, running() as server:
        name = f"replay_{uuid.uuid4().hex}"
        admin = create_engine(server.format(database="postgres"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        admin.dispose()
        write_toys(Path(temporary) / "toys")
        folder = (args.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        replay = Replay(
            folder,
            Path(temporary) / "toys",
            f"sqlite:///{folder / 'ledger.sqlite'}" if args.sqlite else server.format(database=name),
            days=args.days,
            kills=args.kills,
            size=args.size,
            seed=args.seed,
            trained=args.trained,
            faults={number: fault for number, fault in month().items() if number < 4 * args.days},
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        print("\n".join(replay.run()))


if __name__ == "__main__":
    main()
