"""What a million images and 15 years of full-size data cost: unit costs times counts, with the arithmetic.

Unit costs stand in tools/scale_costs.toml, each with the command that measured it. `--page docs/scale.md` writes the
tables there; `--set attribution=0.3` takes the seconds of your own machine instead, `--core-hour` tells a price.
"""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- by tools/scale_costs.py -->\n", "<!-- end -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/scale_costs.py", description=__doc__)
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables between the marks of this page")
    parser.add_argument("--set", nargs="+", default=[], metavar="UNIT=SECONDS", help="other unit costs")
    parser.add_argument("--core-hour", type=float, metavar="PRICE", help="of a core, in any currency")
    args = parser.parse_args()
    costs = tomllib.loads((HERE / "scale_costs.toml").read_text(encoding="utf-8"))
    for text in args.set:
        name, _, value = text.partition("=")
        if name not in costs["unit"] or "seconds" not in costs["unit"][name]:
            print(f"--set takes UNIT=SECONDS of {', '.join(costs['unit'])}, got {text}", file=sys.stderr)
            return 1
        costs["unit"][name] |= {"seconds": float(value), "by": "--set"}
    tables = as_markdown(costs, args.core_hour)
    if args.page is None:
        print(tables, end="")
        return 0
    text = args.page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{args.page} has no mark {BEGIN}"
    assert end, f"{args.page} has no mark {END}"
    args.page.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}", encoding="utf-8")
    return 0


def total(times: float, unit: dict[str, Any]) -> tuple[float, float]:
    """Core hours and bytes of so many of a unit."""
    return times * unit.get("seconds", 0.0) / 3600, times * unit.get("bytes", 0.0)


def as_markdown(costs: dict[str, Any], price: float | None = None) -> str:
    units = costs["unit"]
    lines = ["| unit | costs | measured by |", "| --- | --- | --- |"]
    lines += [f"| {unit['what']} | {cost_of(unit)} | `{unit['by']}` |" for unit in units.values()]
    lines += ["", "| what | count | arithmetic | comes to |", "| --- | --- | --- | --- |"]
    for scale in costs["scale"]:
        for place, name in enumerate(scale["of"]):
            hours, size = total(scale["times"], units[name])
            what = f"{scale['what']}: " if place == 0 else ""
            told = f"{scale['times']:,.0f} × {cost_of(units[name])}" + " / 3600" * (hours > 0)
            comes = f"{size / 1e12:,.2f} TB" if size else f"{hours:,.0f} core hours"
            if hours and price is not None:
                comes += f", {hours * price:,.0f}"
            lines.append(f"| {what}{units[name]['what']} | {scale['count']} | {told} | {comes} |")
    return "\n".join(lines) + "\n"


def cost_of(unit: dict[str, Any]) -> str:
    return f"{unit['bytes'] / 1e6:g} MB" if "bytes" in unit else f"{unit['seconds']:g} s"


if __name__ == "__main__":
    sys.exit(main())
