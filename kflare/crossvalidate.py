"""`python -m kflare.crossvalidate`: the command of :mod:`kflare.commands.crossvalidate`."""

from kflare.commands.crossvalidate import main

if __name__ == "__main__":
    raise SystemExit(main())
