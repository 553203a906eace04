"""Every failure that a user of kflare can meet.

A message names the file or field in backticks, states the rule, the value seen and what to do.
The commands print it on one line and end with exit status 1.
"""


class KflareError(Exception):
    """Root of all errors that kflare raises on purpose; one line, unless a file's name that it quotes has several."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class DataError(KflareError):
    """An observation, catalogue or table that cannot be used as it is."""


class SettingError(KflareError):
    """Options that contradict each other or the data that they are applied to."""


class LedgerError(SettingError):
    """A ledger whose database does not answer, is locked, full or damaged: what waits for it can be tried again."""


class ModelError(KflareError):
    """A network, checkpoint, SavedModel or manifest that cannot be used."""


class ServingError(KflareError):
    """A server that cannot be reached, does not serve what was asked, or answers with something unusable."""
