"""`python -m kflare.verify`: the command of :mod:`kflare.commands.verify`."""

from kflare.commands.verify import main

if __name__ == "__main__":
    raise SystemExit(main())
