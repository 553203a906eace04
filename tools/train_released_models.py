"""Train, evaluate and publish the released models from the observed data; each model is one function."""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: ../shared/data")
    parser.add_argument("--out", type=Path, default=Path("savedmodels"), help="models' directory")
    parser.add_argument("--work", type=Path, default=Path("runs/released"), help="where finished folds are kept")
    parser.add_argument(
        "--as-listed",
        action="store_true",
        help="defn-*: cross-validate on the flare classes of the time, as the papers; publish nothing",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="cnn-c, cnn-m, defn-c, defn-m (default: all)")
    args = parser.parse_args()
    from train_released_cnn import cnn
    from train_released_defn import defn

    scale = "as listed" if args.as_listed else "irradiance"
    models = {
        "cnn-c": partial(cnn, "c"),
        "cnn-m": partial(cnn, "m"),
        "defn-c": partial(defn, "c", scale=scale),
        "defn-m": partial(defn, "m", scale=scale),
    }
    unknown = sorted(set(args.names) - set(models))
    if unknown:
        parser.error(f"unknown model {', '.join(unknown)}: the released models are {', '.join(models)}")
    args.work.mkdir(parents=True, exist_ok=True)
    for name in args.names or models:
        print(models[name](data=args.data, out=args.out, work=args.work), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
