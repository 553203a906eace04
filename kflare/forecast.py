"""`python -m kflare.forecast`: the command of :mod:`kflare.commands.forecast`."""

from kflare.commands.forecast import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
