"""`python -m kflare.demo`: the command of :mod:`kflare.commands.demo`."""

from kflare.commands.demo import main

if __name__ == "__main__":
    raise SystemExit(main())
