"""Whether the released models load and answer alike under older TensorFlow releases, to the oldest that cards name.

    python tools/oldest_tensorflow.py [--into DIR] [VERSION ...]

Part of a release. For each TensorFlow release (by default the oldest of the cards and the one of the server's image) it
makes a throw-away environment with nothing but that release from the package index, runs every signature of every
released model there, and holds all outputs to those of the TensorFlow that is installed here. Ends with 1 and the
outputs that differ. TensorFlow Serving X.Y runs models with TensorFlow X.Y.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "savedmodels"
LARGEST_DIFFERENCE = 2e-5  # of an output's largest value: other releases order their sums otherwise

# Runs in the other environment: numpy and TensorFlow are all that is there.
ASK = """
import json, sys
import numpy as np
import tensorflow as tf

found = {"tensorflow": tf.__version__, "outputs": {}}
for folder, file in json.loads(sys.argv[1]):
    kept = np.load(file, allow_pickle=True)
    loaded = tf.saved_model.load(folder)
    for index, (signature, inputs, wanted) in enumerate(kept["questions"]):
        outputs = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        for name, value in wanted.items():
            now = outputs[name].numpy()
            # NaN where nothing can be forecast, in both or in neither.
            same = now.dtype == value.dtype and now.shape == value.shape and (np.isnan(now) == np.isnan(value)).all()
            scale = max(1.0, float(np.nanmax(np.abs(value)))) if value.size else 1.0
            worst = float(np.nanmax(np.abs(now * 1.0 - value))) / scale if same else float("inf")
            key = f"{folder} {signature} {name}"
            found["outputs"][key] = max(found["outputs"].get(key, 0.0), worst)
print(json.dumps(found))
"""


def main() -> int:
    """Compare, print a line for each release, and return the exit status."""
    from model_card import OLDEST_TENSORFLOW

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, metavar="DIR", help="keep the environments there (default: nowhere)")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="releases of TensorFlow, as 2.19.1")
    options = parser.parse_args()
    wrong = False
    with tempfile.TemporaryDirectory() as temporary:
        asked = ask_here(Path(temporary))
        for version in options.versions or sorted({OLDEST_TENSORFLOW, image_version()}):
            python = environment((options.into or Path(temporary)) / f"tensorflow-{version}", version)
            command = [str(python), "-c", ASK, json.dumps(asked)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            differing = {key: worst for key, worst in found["outputs"].items() if not worst <= LARGEST_DIFFERENCE}
            wrong |= bool(differing)
            worst = max(found["outputs"].values())
            print(
                f"TensorFlow {found['tensorflow']}: {len(found['outputs'])} outputs of {len(asked)} models, "
                f"largest difference {worst:.2g} of the largest value",
                *(f"  {key} differs by {value:.2g}" for key, value in differing.items()),
                sep="\n", flush=True,
            )  # fmt: skip
    return int(wrong)


def ask_here(folder: Path) -> list[tuple[str, str]]:
    """The newest version of each released model, and the file with what was asked and answered here."""
    import numpy as np
    from republish_released_models import questions

    from kflare.models.publish import read_metadata, verify_manifest, versions
    from kflare.models.registry import BYTE_RANGE
    from kflare.models.savedmodel import load_signatures

    asked = []
    for home in sorted(path for path in HOME.iterdir() if path.is_dir()):
        version = home / str(versions(home)[-1])
        verify_manifest(version)
        run = load_signatures(version)
        every = questions(version)
        if BYTE_RANGE in read_metadata(version).get("data", {}):  # no warm-up request asks it
            every.append((BYTE_RANGE, {BYTE_RANGE: np.array([np.nan, 100], np.float32)}))
        kept = [(signature, inputs, run(signature, inputs)) for signature, inputs in every]
        file = folder / f"{home.name}.npz"
        rows = np.empty(len(kept), object)
        rows[:] = kept
        np.savez(file, questions=rows)
        asked.append((str(version), str(file)))
    return asked


def environment(folder: Path, version: str) -> Path:
    """The Python of an environment with this TensorFlow, made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, f"tensorflow-cpu=={version}"], check=True)
    return python


def image_version() -> str:
    """The TensorFlow of the image that the deployment pins."""
    pinned = re.search(r"tensorflow/serving:([\d.]+)", (ROOT / "serving" / "compose.yaml").read_text(encoding="utf-8"))
    assert pinned is not None
    return pinned[1]


if __name__ == "__main__":
    sys.exit(main())
