"""`python -m kflare.controls`: the command of :mod:`kflare.commands.controls`."""

from kflare.commands.controls import main

if __name__ == "__main__":
    raise SystemExit(main())
