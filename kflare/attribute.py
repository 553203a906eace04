"""`python -m kflare.attribute`: the command of :mod:`kflare.commands.attribute`."""

from kflare.commands.attribute import main

if __name__ == "__main__":
    raise SystemExit(main())
