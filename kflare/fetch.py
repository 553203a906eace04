"""`python -m kflare.fetch`: the command of :mod:`kflare.commands.fetch`."""

from kflare.commands.fetch import main

if __name__ == "__main__":
    raise SystemExit(main())
