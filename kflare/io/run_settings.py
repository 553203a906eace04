"""What a run's folder was made with, in JSON beside its results, so that another run does not go on with others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kflare.errors import SettingError

_ANEW = "choose another --output, or delete the folder to begin anew"


def require_same_settings(path: Path, settings: Mapping[str, Any], *, what: str) -> None:
    """Compare settings with those in a JSON file of the folder that holds `what`; `SettingError` if one differs."""
    wanted = json.loads(json.dumps(settings, default=str))
    stored = read_settings_file(path, dict[str, Any])
    for key in sorted({*stored, *wanted}):
        if stored.get(key) != wanted.get(key):
            raise SettingError(
                f"{path.parent} holds {what} with another `{key}` ({_short(stored.get(key))}, now "
                f"{_short(wanted.get(key))}): choose another --output, or delete the folder"
            )


def read_settings_file(path: Path, kind: Any) -> dict[str, Any]:
    """A JSON file of a run's folder, whose content is of a kind that pydantic knows; else `SettingError`."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        raise SettingError(f"cannot use {path.parent} for the run: `{path.name}`: {reason}; {_ANEW}") from error
    except (OSError, ValueError) as error:
        raise SettingError(f"cannot use {path.parent} for the run: `{path.name}`: {error}; {_ANEW}") from error
    return content


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
