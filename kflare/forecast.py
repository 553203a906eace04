"""`python -m kflare.forecast`: the command of :mod:`kflare.commands.forecast`."""

from kflare.commands.forecast import main

if __name__ == "__main__":
    raise SystemExit(main())
