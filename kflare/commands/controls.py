"""How far a model's attribution maps can be trusted, on a few magnetograms."""

import argparse
import json

from kflare.commands import command_line
from kflare.commands.command_line import chosen_images


def _controls(args: argparse.Namespace) -> None:
    command_line.quiet_tensorflow()
    import numpy as np

    from kflare.attribution.attribution_file import METHODS, require_methods
    from kflare.attribution.controls import controls, network_inputs
    from kflare.attribution.published import PublishedModel

    methods = require_methods(args.methods or METHODS)
    model = PublishedModel.find(args.model)
    paths = chosen_images(args)
    paths = [paths[place] for place in np.unique(np.linspace(0, len(paths) - 1, args.images).round().astype(int))]
    ranges = {"byte_range": args.byte_range, "model_range": model.byte_range}
    inputs, scales = network_inputs(paths, size=model.size, **ranges)
    command_line.tell_byte_scale(args.prog, scales)
    tables = controls(model.network(), inputs, methods)
    about = {"model": model.origin.model, "version": model.origin.version, "images": [path.name for path in paths]}
    if args.json:
        found = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
        print(json.dumps({**about, **found}, indent=2))
        return
    print(f"{model.origin.model} version {model.origin.version}, {len(paths)} images")
    for name, table in tables.items():
        print(f"\n{name}\n{table.to_string(index=False, float_format='%.3f')}")


main = command_line.Command("controls", __doc__, _controls)
