"""The commands: parse, call, print. No science here."""
