"""The progress line: what it really shows, on a terminal and elsewhere."""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gpunet import progress as progress_module
from gpunet.callbacks import CallbackList
from gpunet.progress import ProgressLine


class Terminal(io.StringIO):
    """A terminal in memory that knows carriage returns."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        return render(self.getvalue())


def render(written: str) -> list[str]:
    """Return the lines that a terminal shows after these characters."""
    lines, column = [""], 0
    for character in written:
        if character == "\n":
            lines.append("")
            column = 0
        elif character == "\r":
            column = 0
        else:
            line = lines[-1].ljust(column)
            lines[-1] = line[:column] + character + line[column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setenv("COLUMNS", "100")
    clock = Clock()
    monkeypatch.setattr(progress_module, "perf_counter", clock)
    return clock


@pytest.fixture
def terminal() -> Terminal:
    pytest.importorskip("tqdm")
    return Terminal()


def train(
    progress: ProgressLine,
    clock: Clock,
    *,
    steps: int | None = 10,
    epochs: int = 1,
    seconds: float = 0.5,
    after_batch: Callable[[int], None] = lambda batch: None,
) -> None:
    """Go through epochs of 10 batches of 32, each `seconds` long, and a validation of 60 s."""
    listed = CallbackList([progress], params={"epochs": epochs, "steps": steps})
    listed.on_train_begin()
    for epoch in range(epochs):
        listed.on_epoch_begin(epoch)
        for batch in range(10):
            clock.sleep(seconds)
            listed.on_train_batch_end(batch, {"loss": 1 / (batch + 1), "size": 32})
            after_batch(batch)
        listed.on_test_begin()
        clock.sleep(60.0)
        listed.on_test_batch_end(0, {"loss": 9.0, "size": 1000})
        listed.on_test_end({"loss": 9.0})
        listed.on_epoch_end(epoch, {"loss": 0.14861, "accuracy": 0.95312, "val_loss": 9.0})
    listed.on_train_end()


# 10 batches of 32 in 5 seconds; the validation's minute does not count.
LINE = "Epoch 1/1 - 5.0 s - 64 samples/s - loss: 0.1486 - accuracy: 0.9531 - val_loss: 9.0000"


def test_a_plain_line_where_there_is_no_terminal(clock: Clock) -> None:
    stream = io.StringIO()
    train(ProgressLine(1, stream), clock)
    assert stream.getvalue() == LINE + "\n"


def test_a_plain_line_for_verbose_2_on_a_terminal(clock: Clock) -> None:
    stream = Terminal()
    train(ProgressLine(2, stream), clock)
    assert stream.getvalue() == LINE + "\n"


def test_a_plain_line_without_tqdm(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)  # as if it were not installed
    stream = Terminal()
    train(ProgressLine("auto", stream), clock)
    assert stream.getvalue() == LINE + "\n"


def test_nothing_for_verbose_0(clock: Clock) -> None:
    stream = Terminal()
    train(ProgressLine(0, stream), clock)
    assert stream.getvalue() == ""


def test_standard_output_is_looked_up_when_an_epoch_begins(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    train(ProgressLine("auto"), clock)
    assert capsys.readouterr().out == LINE + "\n"


def test_the_terminal_line_redraws_and_ends_as_the_plain_one(
    clock: Clock, terminal: Terminal
) -> None:
    shown: list[list[str]] = []
    train(
        ProgressLine(1, terminal),
        clock,
        after_batch=lambda batch: shown.append(terminal.screen()),
    )
    assert all(len(lines) == 1 for lines in shown), "the line went on instead of redrawing"
    assert shown[3][0].startswith("Epoch 1/1 4/10 ")
    assert shown[3][0].endswith(" left, loss: 0.2500, 64 samples/s")
    assert "█" in shown[3][0]
    assert terminal.screen() == [LINE, ""]


def test_the_terminal_line_says_when_it_validates(clock: Clock, terminal: Terminal) -> None:
    progress = ProgressLine(1, terminal)
    progress.on_epoch_begin(0)
    clock.sleep(1.0)
    progress.on_train_batch_end(0, {"loss": 0.5, "size": 32})
    progress.on_test_begin()
    assert terminal.screen()[0].endswith("validating, loss: 0.5000")
    progress.close()


def test_each_epoch_has_its_line(clock: Clock, terminal: Terminal) -> None:
    train(ProgressLine(1, terminal), clock, epochs=3)
    assert terminal.screen() == [LINE.replace("1/1", f"{epoch}/3") for epoch in (1, 2, 3)] + [""]


def test_it_draws_at_most_ten_times_a_second(clock: Clock, terminal: Terminal) -> None:
    class Logs(dict):  # type: ignore[type-arg]
        reads = 0

        def items(self) -> Any:
            Logs.reads += 1
            return super().items()

    progress = ProgressLine(1, terminal)
    progress.set_params({"epochs": 1, "steps": 1000})
    progress.on_epoch_begin(0)
    for batch in range(1000):
        clock.sleep(0.001)
        progress.on_train_batch_end(batch, Logs(loss=0.5, size=32))
    assert 5 <= Logs.reads <= 10
    assert terminal.getvalue().count("\r") < 20
    progress.close()


def test_an_unknown_number_of_batches(clock: Clock, terminal: Terminal) -> None:
    shown: list[str] = []
    train(
        ProgressLine(1, terminal),
        clock,
        steps=None,
        epochs=2,
        after_batch=lambda batch: shown.append(terminal.screen()[-1]),
    )
    assert shown[3].startswith("Epoch 1/2 4 batches, ")
    assert shown[13].startswith("Epoch 2/2 4/10 "), "the second epoch knows it from the first"
    assert terminal.screen()[0] == LINE.replace("1/1", "1/2")


@pytest.mark.parametrize("columns", [10, 40, 80])
def test_no_line_that_redraws_is_wider_than_the_terminal(
    clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    widths: list[int] = []
    train(
        ProgressLine(1, terminal),
        clock,
        after_batch=lambda batch: widths.append(max(map(len, terminal.screen()))),
    )
    assert max(widths) < columns
    assert terminal.screen() == [LINE, ""], "what stays may wrap: nothing is drawn over it"


def test_an_exception_leaves_the_line_and_a_clean_terminal(
    clock: Clock, terminal: Terminal
) -> None:
    def interrupt(batch: int) -> None:
        if batch == 4:
            raise KeyboardInterrupt

    progress = ProgressLine(1, terminal)
    with pytest.raises(KeyboardInterrupt):
        train(progress, clock, after_batch=interrupt)
    progress.close()
    progress.close()
    line, last = terminal.screen()
    assert line.startswith("Epoch 1/1 5/10 ")
    assert last == ""
    train(progress, clock)
    assert terminal.screen()[1:] == [LINE, ""], "the line can be used again"


@pytest.mark.parametrize("loop", ["test", "predict"])
def test_evaluate_and_predict_have_one_line(loop: str, clock: Clock, terminal: Terminal) -> None:
    for stream in (terminal, io.StringIO()):
        progress = ProgressLine(1, stream)
        listed = CallbackList([progress], params={"steps": 4})
        getattr(listed, f"on_{loop}_begin")()
        for batch in range(4):
            clock.sleep(0.5)
            logs = {"outputs": object()} if loop == "predict" else {"loss": 0.5}
            getattr(listed, f"on_{loop}_batch_end")(batch, logs | {"size": 1000})
        getattr(listed, f"on_{loop}_end")({"loss": 0.5} if loop == "test" else {})
        expected = {
            "test": "Evaluate - 2.0 s - 2,000 samples/s - loss: 0.5000",
            "predict": "Predict - 2.0 s - 2,000 samples/s",
        }
        assert render(stream.getvalue()) == [expected[loop], ""]
    assert "outputs" not in terminal.getvalue()


def test_an_epoch_without_batches_or_logs(clock: Clock) -> None:
    stream = io.StringIO()
    progress = ProgressLine(1, stream)
    progress.on_epoch_begin(4)
    progress.on_epoch_end(4)
    assert stream.getvalue() == "Epoch 5/? - 0.0 s\n"


def test_numbers_are_shown_as_they_can_be_read(clock: Clock) -> None:
    stream = io.StringIO()
    progress = ProgressLine(1, stream)
    progress.on_epoch_begin(0)
    logs = {"a": 0.0, "b": 2.5e-6, "c": -3, "d": float("nan"), "e": 1.5e9, "f": "text"}
    progress.on_epoch_end(0, logs)
    shown = "a: 0.0000 - b: 2.5000e-06 - c: -3.0000 - d: nan - e: 1.5000e+09 - f: text"
    assert stream.getvalue() == f"Epoch 1/? - 0.0 s - {shown}\n"


@pytest.mark.parametrize("verbose", [3, -1, "yes", None])
def test_an_unknown_verbose_is_refused(verbose: Any) -> None:
    with pytest.raises(ValueError, match=r"verbose must be 'auto', 0 .*received"):
        ProgressLine(verbose)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_real_terminal_the_width_is_the_terminals(clock: Clock) -> None:
    pytest.importorskip("tqdm")
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        train(ProgressLine(1, stream), clock)
        stream.flush()
        written = ""
        while not written.endswith("\n"):  # a read gives what has come through so far
            written += os.read(master, 1 << 16).decode()
    os.close(master)
    drawn = [part for part in written.replace("\n", "\r").split("\r") if "left" in part]
    assert drawn
    assert max(len(line) for line in drawn) == 49
    assert render(written)[0] == LINE
