"""The three files of CCMC's Flare Scoreboard, written from one forecast."""

from pathlib import Path

from kflare.io.atomic import write_whole
from kflare.operations.forecast import Forecast
from kflare.operations.publish.ccmc_json import json_text
from kflare.operations.publish.ccmc_text import plain_text, text_name
from kflare.operations.publish.ccmc_xml import xml_text
from kflare.operations.publish.submission import Submission

__all__ = ["write_ccmc"]


def write_ccmc(forecast: Forecast, folder: Path, *, model: str = "KFLARE", spase_id: str | None = None) -> list[Path]:
    """Write a forecast for the scoreboard as JSON, XML and text, named by model, window and issue time.

    Only forecasts that may be sent are written: see `Submission.of`. What the folder held stays.

    Parameters
    ----------
    forecast : Forecast
        The forecast.
    folder : Path
        Where to; made if missing.
    model : str
        Short name under which the method is registered with CCMC.
    spase_id : str, optional
        Its identity in CCMC's registry.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError
        The forecast must not be sent.
    SettingError
        A bad name, or a folder that cannot be written to.
    """
    submission = Submission.of(forecast, model=model, spase_id=spase_id)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{submission.stem}.json": json_text(submission),
        f"{submission.stem}.xml": xml_text(submission),
        text_name(submission): plain_text(submission),
    }
    return [write_whole(folder / name, text) for name, text in files.items()]
