"""The display of how far `fit`, `evaluate` or `predict` is, through tqdm where it is installed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from gpunet.arguments import plain
from gpunet.callbacks import Callback, Logs

__all__ = ["ProgressLine"]


class ProgressLine(Callback):
    """Shows how far the loop is: one line an epoch, and one for `evaluate` or `predict`.

    On a terminal the line redraws up to ten times a second, if tqdm is installed. At the end of
    an epoch it is replaced by what is printed everywhere else as well:
    ``Epoch 1/3 - 21.3 s - 2,816 samples/s - loss: 0.1486 - accuracy: 0.9531``. Seconds and
    samples are those of training, without validation.

    It counts samples by the ``size`` in a batch's logs. A loop calls `close` when it ends, by an
    exception too.

    Arguments:
        verbose: 0 shows nothing, 1 or ``"auto"`` the line that redraws, 2 a plain line at the end
            of each epoch.
        stream: where to write; by default what `sys.stdout` is when an epoch begins.

    Raises:
        ValueError: if `verbose` is none of these.
    """

    _only_counts = True
    _SECONDS_BETWEEN_DRAWS = 0.1
    _KNOWN_LENGTH = "{desc} {n_fmt}/{total_fmt} {bar} {remaining} left{postfix}"
    _UNKNOWN_LENGTH = "{desc} {n_fmt} batches, {elapsed}{postfix}"

    def __init__(self, verbose: int | str = "auto", stream: Any = None) -> None:
        known = plain(verbose)
        if not isinstance(known, str | int) or known not in ("auto", 0, 1, 2):
            raise ValueError(
                f"verbose must be 'auto', 0 (silent), 1 (a line that redraws) or 2 (one plain "
                f"line an epoch), received {verbose!r}."
            )
        self.verbose = 1 if known == "auto" else int(known)
        self._active = self.verbose != 0
        self._stream = stream
        self._bar: Any = None  # tqdm's, while a line redraws
        self._in_epoch = False
        self._steps: int | None = None  # batches of the last epoch
        self._begin("")

    def _begin(self, label: str, steps: int | None = None) -> None:
        self.close()
        self._label, self._text = label, ""
        self._batches = self._samples = 0
        self._running, self._seconds, self._since = True, 0.0, perf_counter()
        self._next_draw = self._since + self._SECONDS_BETWEEN_DRAWS
        if self.verbose == 1 and label:
            self._bar = self._make_bar(steps)

    def _out(self) -> Any:
        return sys.stdout if self._stream is None else self._stream

    def _make_bar(self, steps: int | None) -> Any:
        stream = self._out()
        if not (hasattr(stream, "isatty") and stream.isatty()):
            return None
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return tqdm(
            desc=self._label,
            total=steps,
            file=stream,
            leave=False,
            ncols=_columns(stream),
            miniters=1,
            bar_format=self._UNKNOWN_LENGTH if steps is None else self._KNOWN_LENGTH,
        )

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Count a batch, and redraw if it is time to."""
        if not self._running:
            return
        self._batches += 1
        self._samples += (logs or {}).get("size", 0)
        if self._bar is not None and perf_counter() >= self._next_draw:
            self._text = _describe(logs)
            self._draw(self._text, self._rate())
            self._next_draw = perf_counter() + self._SECONDS_BETWEEN_DRAWS

    on_test_batch_end = on_predict_batch_end = on_train_batch_end

    def _rate(self) -> str:
        seconds = self._seconds + (perf_counter() - self._since if self._running else 0.0)
        return f"{self._samples / seconds:,.0f} samples/s" if self._samples and seconds else ""

    def _draw(self, *parts: str) -> None:
        if self._bar is not None:
            self._bar.n = self._batches
            self._bar.ncols = _columns(self._bar.fp)
            self._bar.set_postfix_str(", ".join(filter(None, parts)), refresh=False)
            self._bar.refresh()

    def _pause(self) -> None:
        self._seconds += perf_counter() - self._since
        self._running = False

    def _finish(self, logs: Logs | None) -> None:
        """Replace the line that redraws by the one that stays."""
        if self._running:
            self._pause()
        parts = [self._label, f"{self._seconds:.1f} s", self._rate(), _describe(logs, " - ")]
        line = " - ".join(filter(None, parts))
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
            bar.write(line, file=bar.fp)
        elif self.verbose:
            print(line, file=self._out(), flush=True)

    def close(self) -> None:
        """End the line where it is, so that what is printed next begins on one of its own."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.leave = True
            bar.close()
        self._in_epoch = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin the epoch's line."""
        label = f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}"
        self._begin(label, self.params.get("steps") or self._steps)
        self._in_epoch = True

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Print the epoch's line."""
        self._finish(logs)
        self._in_epoch, self._steps = False, self._batches

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Begin the line of `evaluate`, or stop the clock for the validation in `fit`."""
        if self._in_epoch:
            self._pause()
            self._draw("validating", self._text)
        else:
            self._begin("Evaluate", self.params.get("steps"))

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Print the line of `evaluate`, or start the clock again."""
        if self._in_epoch:
            self._running, self._since = True, perf_counter()
        else:
            self._finish(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Begin the line of `predict`."""
        self._begin("Predict", self.params.get("steps"))

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Print the line of `predict`."""
        self._finish(None)


def _columns(stream: Any) -> int:
    """Return how many columns of the terminal a line may take, or 79 where it does not say."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        columns = 0
    return max((columns or shutil.get_terminal_size().columns) - 1, 1)


def _describe(logs: Mapping[str, Any] | None, separator: str = ", ") -> str:
    shown = {k: v for k, v in (logs or {}).items() if k not in ("size", "outputs")}
    return separator.join(f"{name}: {_number(value)}" for name, value in shown.items())


def _number(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    plain = number == 0 or 1e-3 <= abs(number) < 1e7
    return f"{number:.4f}" if plain else f"{number:.4e}"
