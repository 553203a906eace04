"""All models of a server: which version a request means, and the watch over their folders."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc

from kflare.serving.messages.statuses import RequestError, invalid
from kflare.serving.server.config_files import ModelSettings, numbered_versions
from kflare.serving.server.servable import Servable
from kflare.serving.server.versions import Loader, ModelVersions, VersionStatus, not_served

_LOG = logging.getLogger(__name__)


class ModelManager:
    """The models that are served, and those that appear in `discover`; safe to use from many threads.

    `load` makes a `Servable` of path, `name` and `number`.
    """

    def __init__(
        self, models: Sequence[ModelSettings], *, discover: Path | None = None, load: Loader = Servable
    ) -> None:
        self._load = load
        self._discover = discover
        # Replaced as a whole, never changed in place: readers need no lock.
        self._models = {settings.name: ModelVersions(settings, load=self._load) for settings in models}
        # No longer listed, but in GetModelStatus: core/servable_state_monitor.h forgets nothing by itself.
        self._past: dict[str, ModelVersions] = {}
        self._work = threading.Lock()  # held while folders are read and versions loaded
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None

    def use(self, spec: Any) -> AbstractContextManager[Servable]:
        """Hold the version that a ModelSpec asks for, which then stays loaded until the block ends.

        `RequestError` INVALID_ARGUMENT for an empty name or unknown label, as ServableRequestFromModelSpec of
        model_servers/server_core.cc; NOT_FOUND for a model or version that is not served.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        number = self._number(spec)
        model = self._models.get(spec.name)
        if model is None:
            raise not_served(spec.name, number)
        return model.use(number)

    def status(self, spec: Any) -> list[VersionStatus]:
        """All versions of a model that were ever known, newest first, or the one whose number the ModelSpec gives.

        A label says nothing here, as in model_servers/get_model_status_impl.cc. `RequestError` NOT_FOUND.
        """
        number = int(spec.version.value) if spec.HasField("version") else None
        model = self._models.get(spec.name) or self._past.get(spec.name)
        statuses = model.statuses() if model else []
        if number is not None:
            statuses = [status for status in statuses if status.number == number]
        if not statuses:
            which = "any versions" if number is None else f"version {number}"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find {which} of model {spec.name}")
        return statuses

    def available(self) -> dict[str, list[int]]:
        """Each configured model's versions that answer, oldest first; empty where there is none."""
        return {name: model.available() for name, model in sorted(self._models.items())}

    def knows(self, name: str) -> bool:
        """Whether a model of this name is configured."""
        return name in self._models

    def known(self) -> list[tuple[str, VersionStatus]]:
        """Every version that was ever known, by model."""
        return [(name, status) for name, model in (self._past | self._models).items() for status in model.statuses()]

    def failures(self) -> dict[str, str]:
        """Why models have no version that answers: the newest failed load, by model."""
        broken = {}
        for name, model in sorted(self._models.items()):
            failed = [status for status in model.statuses() if status.message]
            if failed and not model.available():
                broken[name] = f"version {failed[0].number} cannot be loaded: {failed[0].message}"
        return broken

    def poll(self, *, trust: bool = False, warm: bool = True) -> None:
        """Look at the folders once; `trust` and `warm` as in `ModelVersions.poll`."""
        with self._work:
            self._find_new_models()
            _poll(self._models.values(), trust=trust, warm=warm)

    def watch(self, seconds: float, *, after: Callable[[], None]) -> None:
        """In a thread warm up what answers, then poll every so many seconds, if any, till `stop`; `after` each time."""
        cold = list(self._models.values())

        def run() -> None:
            while not self._stopped.wait(0 if cold else seconds or None):
                try:
                    if cold:
                        with self._work:
                            cold.pop(0).warm_up(self._stopped.is_set)
                        after()
                    self.poll()
                    after()
                except Exception:  # noqa: BLE001 - the watch must outlive whatever a file system can do
                    _LOG.exception("looking at the model folders failed; trying again")

        self._watcher = threading.Thread(target=run, name="kflare-model-watch", daemon=True)
        self._watcher.start()

    def stop(self, within: float = 30.0) -> None:
        """End the watch, after the load or warm-up request in progress if that takes no longer."""
        self._stopped.set()
        if self._watcher is not None:
            self._watcher.join(within)

    def reconfigure(self, models: Sequence[ModelSettings]) -> None:
        """Serve these models from now on and no others; a version number that is served already stays as it is.

        `RequestError` as in model_servers/server_core.cc: FAILED_PRECONDITION where a label would move to a version
        that does not answer, and nothing changes (UpdateModelVersionLabelMap); UNKNOWN where a new model has no version
        that can be loaded, and the change holds (WaitUntilModelsAvailable, which waits for ever for a missing path).
        """
        with self._work:
            for settings in models:
                self._check_labels(settings)
            known, wanted = self._models, {}
            for settings in models:
                model = known.get(settings.name) or ModelVersions(settings, load=self._load)
                model.settings = settings
                wanted[settings.name] = model
            self._past = {name: model for name, model in (self._past | known).items() if name not in wanted}
            self._models, self._discover = wanted, None
            for name in known.keys() - wanted.keys():
                known[name].queued = []
                known[name].unload(known[name].available())
            _poll(wanted.values(), trust=True)
            absent = [name for name in wanted.keys() - known.keys() if not wanted[name].available()]
        if absent:
            why = "".join(f"{{{wanted[name].unavailable()}}}, " for name in sorted(absent))
            message = f"{len(absent)} model(s) did not become available: {{{why}}}"
            raise RequestError(grpc.StatusCode.UNKNOWN, message)

    def _number(self, spec: Any) -> int | None:
        match spec.WhichOneof("version_choice"):
            case "version":
                return int(spec.version.value)
            case "version_label":
                model = self._models.get(spec.name)
                if model is None or spec.version_label not in model.settings.labels:
                    raise invalid(f"Unrecognized servable version label: {spec.version_label}")
                return model.settings.labels[spec.version_label]
        return None

    def _check_labels(self, settings: ModelSettings) -> None:
        if (model := self._models.get(settings.name)) is None:
            return
        for label, number in settings.labels.items():
            # As with --allow_version_labels_for_unavailable_models: a new label may point ahead, a known one may not.
            if model.settings.labels.get(label, number) != number and number not in model.available():
                which = f"version {number} of model {settings.name}"
                message = f"Request to assign label to {which}, which is not currently available for inference"
                raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)

    def _find_new_models(self) -> None:
        if self._discover is None:
            return
        try:
            folders = [path for path in sorted(self._discover.iterdir()) if path.is_dir() and path.name[0] != "."]
            fresh = [path for path in folders if path.name not in self._models and numbered_versions(path)]
        except OSError as error:
            _LOG.warning("cannot look for models in %s: %s", self._discover, error)
            return
        found = {path.name: ModelVersions(ModelSettings(path.name, path), load=self._load) for path in fresh}
        self._models = self._models | found


def _poll(models: Iterable[ModelVersions], *, trust: bool, warm: bool = True) -> None:
    """Poll each; side by side where all that is there is to be loaded, most of which TensorFlow does on one core."""
    with ThreadPoolExecutor(os.cpu_count() if trust else 1, thread_name_prefix="kflare-load") as cores:
        list(cores.map(lambda model: model.poll(trust=trust, warm=warm), models))
