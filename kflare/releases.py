"""`python -m kflare.releases`: the command of :mod:`kflare.commands.releases`."""

from kflare.commands.releases import main

if __name__ == "__main__":
    raise SystemExit(main())
