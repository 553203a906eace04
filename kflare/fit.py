"""`python -m kflare.fit`: the command of :mod:`kflare.commands.fit`."""

from kflare.commands.fit import main

if __name__ == "__main__":
    raise SystemExit(main())
