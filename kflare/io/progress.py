"""How far a long loop is: a bar on a terminal, and a line every half minute where nobody sees a bar."""

import io
import sys
import threading
from typing import Any, Final

from tqdm import tqdm

SECONDS: Final = 30.0
"""Between two lines."""


def progress(items: Any = None, **options: Any) -> tqdm:
    """What tqdm does on a terminal, by its options; elsewhere a line on stderr every `SECONDS`."""
    return (tqdm if sys.stderr.isatty() else _Lines)(items, **options)


class _Lines(tqdm):
    monitor_interval = 0  # it would draw a bar that nobody sees

    def __init__(self, items: Any = None, **options: Any) -> None:
        self._over, self._spoke = threading.Event(), False
        unseen = {"file": io.StringIO(), "disable": False, "delay": 0, "mininterval": 0, "miniters": 1}
        super().__init__(items, **options | unseen)
        threading.Thread(target=self._speak, name="kflare-progress", daemon=True).start()

    def _speak(self) -> None:
        while not self._over.wait(SECONDS):
            self._spoke = True
            self._line()

    def _line(self) -> None:
        told = self.format_dict
        spent, total = tqdm.format_interval(told["elapsed"]), told["total"]
        of = "" if total is None else f" of {total}"
        done = self.n - self.initial
        left = (total - self.n) * told["elapsed"] / done if total and done and not self._over.is_set() else 0
        more = f", about {tqdm.format_interval(left)} more" if left else ""
        postfix = f"; {told['postfix']}" if told["postfix"] else ""
        line = f"{told['prefix'] or 'progress'}: {self.n}{of} {told['unit']}s after {spent}{more}{postfix}\n"
        sys.stderr.write(line)
        sys.stderr.flush()

    def display(self, *_: Any, **__: Any) -> None:
        """Nothing between the lines."""

    def close(self) -> None:
        """Say where it ended, if anything was said."""
        if not self._over.is_set():
            self._over.set()
            if self._spoke:
                self._line()
        super().close()
