"""`python -m kflare.features`: the command of :mod:`kflare.commands.features`."""

from kflare.commands.features import main

if __name__ == "__main__":
    raise SystemExit(main())
