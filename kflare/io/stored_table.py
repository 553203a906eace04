"""Tables that stand as CSV files beside the modules that read them."""

import csv
from importlib.resources import files


def stored_rows(package: str, name: str) -> list[dict[str, str]]:
    """The rows of a file of a package of kflare, by the names in its first line; all cells are text."""
    return list(csv.DictReader(files(package).joinpath(name).read_text(encoding="utf-8").splitlines()))
