"""`python -m kflare.analyse`: the command of :mod:`kflare.commands.analyse`."""

from kflare.commands.analyse import main

if __name__ == "__main__":
    raise SystemExit(main())
