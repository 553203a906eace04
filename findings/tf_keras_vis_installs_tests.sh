#!/usr/bin/env bash
# tf-keras-vis 0.8.7 installs its own tests as the top-level package `tests` (with an __init__.py). A project whose tests
# have no __init__.py, as pytest's importlib mode wants them, is a namespace package, and a regular package wins over it
# wherever both are on sys.path: `import tests.world` finds tf-keras-vis's folder and fails, even with the project first.
# Seen with tf-keras-vis 0.8.7, pip 25, Python 3.11. Output when it was written:
#   installed: tests/__init__.py
#   import tests -> tf-keras-vis's
#   import tests.world: No module named 'tests.world'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps tf-keras-vis==0.8.7 2> "$folder/pip.log" ||
    { cat "$folder/pip.log"; exit 1; }
mkdir -p "$folder/project/tests"
echo "world = 1" > "$folder/project/tests/world.py"
cd "$folder/project"
"$folder/env/bin/python" - <<'PY'
import importlib
import sysconfig
from pathlib import Path

site = Path(sysconfig.get_paths()["purelib"])
assert (site / "tests" / "__init__.py").is_file(), "tf-keras-vis no longer installs `tests`"
print("installed: tests/__init__.py")
assert Path(importlib.import_module("tests").__file__).is_relative_to(site), "the project's own folder wins now"
print("import tests -> tf-keras-vis's")
try:
    importlib.import_module("tests.world")
except ModuleNotFoundError as error:
    print("import tests.world:", error)
else:
    raise SystemExit("the project's own tests are found now")
PY
