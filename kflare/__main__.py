"""`python -m kflare COMMAND`, and the console script `kflare`: lists the commands, or runs one."""

import sys
from collections.abc import Sequence
from importlib import import_module

from kflare import __version__
from kflare.io.stored_table import stored_rows

#: What each command is for, in the order of the README's tour.
COMMANDS = {row["command"]: row["job"] for row in stored_rows("kflare.commands", "commands.csv")}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; returns its exit status, 2 if there is no such command."""
    name, *arguments = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    if name == "--version":
        print(f"kflare {__version__}")
        return 0
    if name in {"-h", "--help"}:
        width = max(map(len, COMMANDS))
        print("usage: kflare COMMAND [options]\n\nSolar-flare forecasts by deep neural networks. The commands:\n")
        print("\n".join(f"  {command:<{width}}  {job}" for command, job in COMMANDS.items()))
        print("\n`kflare COMMAND --help` tells each one's options; `python -m kflare.COMMAND` is the same.")
        return 0
    if name not in COMMANDS:
        print(f"kflare: no command `{name}`; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return int(import_module(f"kflare.commands.{name}").main(arguments, prog=f"kflare {name}"))


if __name__ == "__main__":
    raise SystemExit(main())
