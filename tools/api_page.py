"""Write docs/api.md: every name that a room offers, with the first line of what it says of itself."""

import ast
import importlib
import inspect
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"


def rooms() -> dict[str, list[str]]:
    """Room, such as "kflare.observations", to the names that its stub exports."""
    found = {}
    for stub in sorted((ROOT / "kflare").rglob("__init__.pyi")):
        exported = next(node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.Assign))
        found[".".join(stub.parent.relative_to(ROOT).parts)] = ast.literal_eval(exported.value)
    return found


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# What a notebook imports",
        "",
        "Each room offers these names, loaded when first used: `from kflare.observations import read_magnetogram`.",
        "Everything else in a room may change. The full text is in the docstrings: `help(name)`.",
    ]
    for room, names in rooms().items():
        module = importlib.import_module(room)
        lines += [
            "",
            f"## `{room}`",
            "",
            f"{(module.__doc__ or '').splitlines()[0]}",
            "",
            "| name | what it is |",
            "| --- | --- |",
        ]
        for name in names:
            thing = getattr(module, name)
            told = (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
            if not callable(thing):
                values = [thing] if isinstance(thing, (int, float, str)) else thing
                told = ", ".join(f"`{getattr(value, 'name', value)}`" for value in values)
            lines.append(f"| `{name}` | {told} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), encoding="utf-8")
