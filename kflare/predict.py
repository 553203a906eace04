"""`python -m kflare.predict`: the command of :mod:`kflare.commands.predict`."""

from kflare.commands.predict import main

if __name__ == "__main__":
    raise SystemExit(main())
