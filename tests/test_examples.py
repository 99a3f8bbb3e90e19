"""examples/: the programs that new users run first."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gpunet.datasets import cifar10, digits, mnist, shakespeare, spoken_digits

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mnist_cnn() -> ModuleType:
    pytest.importorskip("sklearn")
    return load("mnist_cnn")


def run(name: str, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does, in another folder, on NumPy arrays."""
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / f"{name}.py", *map(str, options)],
        # One BLAS thread: on a busy machine, several mostly wait for each other.
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1",
            "GPUNET_BACKEND": "numpy",
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def read_png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_mnist_cnn_trains_and_plots(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    plot = tmp_path / "curves.png"
    options = ["--data", "digits", "--epochs", "1", "--plot", str(plot), "--backend", "numpy"]
    child = run("mnist_cnn", tmp_path, *options)
    assert child.returncode == 0, child.stderr
    lines = child.stdout.splitlines()
    assert lines[0] == "Data: digits, 1,437 training images, 360 test images"
    assert lines[1].startswith("Backend: numpy. ")
    assert sum(line.startswith("Epoch 1/1") for line in lines) == 1
    accuracy = re.search(r"^Test accuracy: (0\.\d{4}), loss: .* on 360 images$", child.stdout, re.M)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.4  # 0.61 on seed 0; chance is 0.1
    assert lines[-1] == f"Curves of loss and accuracy: {plot}"
    assert read_png_size(plot) == (1350, 570)


def test_auto_uses_mnist_if_available(
    mnist_cnn: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = np.full((2, 28, 28), 255, np.uint8), np.array([3, 9], np.uint8)
    monkeypatch.setattr(mnist, "load_data", lambda: ((images, labels), (images, labels)))
    (x_train, y_train), _ = mnist_cnn.load_data("auto")
    assert capsys.readouterr().out == "Data: mnist, 2 training images, 2 test images\n"
    np.testing.assert_array_equal(x_train, np.ones((2, 28, 28, 1), np.float32), strict=True)
    np.testing.assert_array_equal(y_train, np.eye(10, dtype=np.float32)[[3, 9]], strict=True)


@pytest.mark.parametrize("error", [ConnectionError("no network"), ImportError("no pooch")])
def test_auto_falls_back_to_digits(
    mnist_cnn: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(mnist, "load_data", fail)
    assert mnist_cnn.load_data("auto")[0][0].shape == (1437, 28, 28, 1)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Data: digits, ")
    assert first.endswith("(MNIST is neither cached nor reachable)")
    assert second == str(error)


def run_main(mnist_cnn: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    """Return the message of the program's exit before it trains."""
    monkeypatch.setattr(sys, "argv", ["mnist_cnn.py", *options])
    monkeypatch.setattr(mnist_cnn, "build_model", lambda: pytest.fail("trains first"))
    with pytest.raises(SystemExit) as caught:
        mnist_cnn.main()
    return str(caught.value)


def test_bad_options_fail_before_training(
    mnist_cnn: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    options = ("--data", "digits", "--plot")
    missing = str(tmp_path / "missing" / "curves.png")
    assert f"--plot cannot write {missing}" in run_main(mnist_cnn, monkeypatch, *options, missing)
    other = str(tmp_path / "curves.doc")
    assert "Format 'doc' is not supported" in run_main(mnist_cnn, monkeypatch, *options, other)

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    plot = str(tmp_path / "curves.png")
    assert 'pip install "gpunet[plot]"' in run_main(mnist_cnn, monkeypatch, *options, plot)

    def fail() -> None:
        raise ImportError("scikit-learn is not installed")

    monkeypatch.setattr(digits, "load_data", fail)
    assert (
        run_main(mnist_cnn, monkeypatch, *options, plot) == "No data. scikit-learn is not installed"
    )


def test_curves(mnist_cnn: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for epochs in (1, 4):
        figure = mnist_cnn.open_figure(str(tmp_path / "curves.png"))
        history = {
            name: [1 / (epoch + 1) for epoch in range(epochs)]
            for name in ("loss", "accuracy", "val_loss", "val_accuracy")
        }
        mnist_cnn.draw_curves(figure, history)
        figure.savefig(tmp_path / "curves.png")
        assert [axes.get_ylabel() for axes in figure.axes] == ["Cross-entropy loss", "Accuracy"]
        for axes in figure.axes:
            assert axes.get_xlabel() == "Epoch"
            assert [text.get_text() for text in axes.get_legend().get_texts()] == [
                "training",
                "validation",
            ]
            assert [line.get_xdata().tolist() for line in axes.lines] == [
                list(range(1, epochs + 1))
            ] * 2
            assert all(tick == int(tick) for tick in axes.get_xticks())


def test_char_transformer_trains_and_writes(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 60)
    options = [str(text), "--steps", "3", "--length", "20", "--prompt", "to be"]
    child = run("char_transformer", tmp_path, *options)
    assert child.returncode == 0, child.stderr
    loss = re.search(r"^Loss on text not seen: (\d\.\d{3}) a character$", child.stdout, re.M)
    assert loss is not None
    assert float(loss[1]) < 3  # 2.6 on seed 0; by chance log(17) = 2.8 and more
    assert re.search(r"^to be.{20}$", child.stdout, re.M)


def data_home(*files: str) -> None:
    """Skip the test where GPUNET_HOME has not all of these files."""
    home = os.environ.get("GPUNET_HOME")
    for file in files:
        if not home or not (Path(home) / file).is_file():
            pytest.skip(f"needs {file} in GPUNET_HOME={home}")


@pytest.mark.parametrize(
    ("name", "file", "options", "result"),
    [
        ("cifar10_resnet", "cifar10-jpeg.npz", ["--epochs", 1, "--samples", 192],
         r"Test accuracy: 0\.\d{4}, loss: \d+\.\d{4}, on 192 images\n"
         r"Training time: .* s for 1 epochs of 3 steps"),
        ("spoken_digits_lstm", "fsdd.npz", ["--epochs", 1, "--samples", 64],
         r"Test accuracy: 0\.\d{4}, after .* s of training"),
        ("spoken_digits_cnn", "fsdd.npz", ["--epochs", 1, "--samples", 64],
         r"Test accuracy: 0\.\d{4}, after .* s of training"),
        ("autoencoder", "mnist.npz", ["--epochs", 1, "--samples", 2000],
         r"Mean squared error: 0\.0\d{3}, of the mean image: 0\.06\d\d\n"),
        ("transfer", "mnist.npz", ["--epochs", 1, "--samples", 1000, "--few", 3],
         r"Test accuracy: 0\.\d{4} with frozen convolutions, 0\.\d{4} from scratch\n"),
        ("custom_kernel", "mnist.npz", ["--epochs", 1, "--samples", 2000],
         r"Test accuracy: 0\.[5-9]\d{3}, after .* s of training"),  # 0.80 on seed 0
        ("char_transformer", "tinyshakespeare.txt", ["--steps", 2, "--length", 5],
         r"Loss on text not seen: \d\.\d{3} a character\nROMEO:"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)  # fmt: skip
def test_examples_run_on_real_data(
    tmp_path: Path, name: str, file: str, options: list[Any], result: str
) -> None:
    data_home(file)
    if name == "cifar10_resnet":
        pytest.importorskip("PIL")
    child = run(name, tmp_path, *options)
    assert child.returncode == 0, child.stderr
    assert re.search(f"^{result}", child.stdout, re.M), child.stdout


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("cifar10_resnet", cifar10), ("spoken_digits_lstm", spoken_digits),
        ("spoken_digits_cnn", spoken_digits), ("autoencoder", mnist), ("transfer", mnist),
        ("custom_kernel", mnist), ("char_transformer", shakespeare),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_missing_data_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, dataset: ModuleType
) -> None:
    def fail(*unused: Any) -> None:
        raise FileNotFoundError("There is no such file.")

    monkeypatch.setattr(dataset, "load_data", fail)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    with pytest.raises(SystemExit) as caught:
        load(name).main()
    assert re.fullmatch(r"No (data|text)\. There is no such file\.", str(caught.value))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar10_resnet", ["--epochs", "0"], "--epochs must be at least 1, received 0"),
        ("cifar10_resnet", ["--samples", "9"], "--samples must be at least 64, a batch, received 9"),  # noqa: E501
        ("spoken_digits_lstm", ["--samples", "0"], "--samples must be at least 1, received 0"),
        ("spoken_digits_cnn", ["--epochs", "-1"], "--epochs must be at least 1, received -1"),
        ("autoencoder", ["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        ("cartpole", ["--updates", "-1"], "--updates must be at least 0, received -1"),
        ("transfer", ["--few", "0"], "--few must be at least 1, received 0"),
        ("custom_kernel", ["--samples", "0"], "--samples must be at least 1, received 0"),
        ("char_transformer", ["--steps", "0"], "--steps must be at least 1, received 0"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)  # fmt: skip
def test_bad_options_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *options])
    with pytest.raises(SystemExit) as caught:
        load(name).main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"{name}.py: error: {message}"


def test_cifar10_batches_are_shifted_and_mirrored() -> None:
    example = load("cifar10_resnet")
    images = np.zeros((example.BATCH_SIZE + 5, 32, 32, 3), np.uint8)
    images[:, 10, 3] = np.arange(1, len(images) + 1)[:, None]  # a dot that says which image it is
    labels = np.arange(len(images))
    batches = list(example.augmented_batches(images, labels, 2, seed=0))
    assert len(batches) == 2
    places = set()
    for x, y in batches:
        assert x.shape == (example.BATCH_SIZE, 32, 32, 3)
        assert x.dtype == np.uint8
        assert len(set(y)) == len(y)
        for image, label in zip(x, y, strict=True):
            for row, column in np.argwhere(image[..., 0]):
                assert image[row, column, 0] == label + 1
                places.add((row, column))
    rows, columns = (set(part) for part in zip(*places, strict=True))
    assert rows == set(range(6, 15))
    assert columns == set(range(8)) | set(range(24, 32))
    again = next(example.augmented_batches(images, labels, 1, seed=0))
    np.testing.assert_array_equal(again[0], batches[0][0])


def test_spectrogram_of_a_tone_is_bright_in_its_band() -> None:
    example = load("spectrograms")
    filters = example.mel_filters()
    assert filters.shape == (129, example.BANDS)
    seconds = np.arange(8000) / 8000
    for hertz in (500, 1000, 3000):
        tone = (1000 * np.sin(2 * np.pi * hertz * seconds)).astype("int16")
        (spectrogram,) = example.spectrograms(tone[None])
        assert spectrogram.shape == (61, example.BANDS)
        assert spectrogram.dtype == np.float32
        nearest = filters[round(hertz / 8000 * 256)].argmax()
        assert (spectrogram.argmax(axis=1) == nearest).all()
    assert np.isfinite(example.spectrograms(np.zeros((1, 8000), "int16"))).all()


def test_cartpole_plays_and_learns(tmp_path: Path) -> None:
    child = run("cartpole", tmp_path, "--built-in", "--updates", 6)
    assert child.returncode == 0, child.stderr
    found = re.search(
        r"^Mean length of 20 episodes: (\S+) before .*, (\S+) after it$", child.stdout, re.M
    )
    assert found is not None, child.stdout
    assert float(found[2]) > float(found[1])
    assert child.stdout.splitlines()[0] == "Cart-pole: built in"


def test_cartpole_follows_its_equations() -> None:
    """Energy is kept where nothing pushes, as far as a step of Euler's keeps it."""
    example = load("cartpole")
    world = example.CartPole(1, seed=0)
    world.FORCE, world.SECONDS = 0.0, 1e-5
    world.reset()
    world.states[:] = 0.1, 0.5, 0.2, -0.3

    def energy() -> float:
        _, v, a, w = world.states[0]
        cart, pole, half = world.CART, world.POLE, world.HALF_LENGTH
        moving = (cart + pole) * v**2 / 2 + pole * half * v * w * np.cos(a)
        return (
            moving + (4 / 3) * pole * half**2 * w**2 / 2 + pole * world.GRAVITY * half * np.cos(a)
        )

    before = energy()
    for _ in range(10_000):
        world.step(np.array([1]))
    assert abs(world.states[0, 2] - 0.2) > 0.01  # it has moved
    assert energy() == pytest.approx(before, rel=1e-4)


def test_cartpole_returns_are_discounted() -> None:
    example = load("cartpole")
    taken = np.array([[True, True], [True, False], [True, False]])
    np.testing.assert_allclose(
        example.discounted(taken), [[1 + 0.99 * 1.99, 1], [1.99, 0], [1, 0]], rtol=1e-6
    )


def test_autoencoder_draws_digits(tmp_path: Path) -> None:
    data_home("mnist.npz")
    pytest.importorskip("matplotlib")
    plot = tmp_path / "digits.png"
    child = run("autoencoder", tmp_path, "--epochs", 1, "--samples", 200, "--plot", plot)
    assert child.returncode == 0, child.stderr
    assert read_png_size(plot) == (1000, 220)


def test_custom_kernel_checks_its_twins(tmp_path: Path) -> None:
    child = run("custom_kernel", tmp_path, "--check")
    assert child.returncode == 0, child.stderr
    first, second = child.stdout.splitlines()
    assert first.startswith("snake: the ")
    assert second.startswith("row_norms: the ")
