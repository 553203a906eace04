"""Numbers, intervals and aligned columns of the tables that training and cross-validation print."""

from collections.abc import Sequence

import numpy as np

__all__ = ["aligned_columns", "interval_cell", "number_cell"]


def aligned_columns(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Lines of a text table, the first `left` columns aligned to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def number_cell(value: float) -> str:
    """Three decimals; "–" where undefined."""
    return f"{float(value):.3f}" if np.isfinite(value) else "–"


def interval_cell(lower: float, upper: float) -> str:
    """Two decimals of both ends; "–" where there is no interval."""
    return f"{lower:.2f}..{upper:.2f}" if np.isfinite([lower, upper]).all() else "–"
