"""`python -m kflare.serve`: the command of :mod:`kflare.commands.serve`."""

from kflare.commands.serve import main

if __name__ == "__main__":
    raise SystemExit(main())
