"""gpunet.datasets: cached files, downloads from a local server, digits."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gpunet import datasets
from gpunet.datasets import cache, digits, fashion_mnist, files, mnist
from gpunet.datasets.files import LabelledImages
from tests.support.dataset_files import Arrays, assert_holds, fashion_files, make_arrays, npz_bytes

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder that does not exist yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GPUNET_HOME", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


class Server:
    """A local web server: `files` by path, `requests` so far, `missing` bytes at the end."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.missing = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                content = outer.files.get(self.path.lstrip("/"))
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) - outer.missing])

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("pooch")
    with Server() as running:
        yield running
    gc.collect()  # pooch leaves the socket of a failed download open: close it here


@pytest.fixture
def remote_mnist(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """Serve a small mnist.npz; return its arrays."""
    arrays = make_arrays()
    server.files["mnist.npz"] = content = npz_bytes(arrays)
    digest = hashlib.sha256(content).hexdigest()
    file = cache.RemoteFile("mnist.npz", f"{server.url}/mnist.npz", digest)
    monkeypatch.setattr(mnist, "_FILE", file)
    return arrays


@pytest.fixture
def remote_fashion(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """Serve the four files of Fashion-MNIST, small; return their arrays."""
    arrays = make_arrays(8)
    server.files.update(fashion_files(arrays))
    digests = {
        name.removesuffix("-ubyte.gz"): hashlib.sha256(content).hexdigest()
        for name, content in server.files.items()
    }
    monkeypatch.setattr(fashion_mnist, "_FOLDER", server.url)
    monkeypatch.setattr(fashion_mnist, "_SHA256", digests)
    return arrays


# The cache folder


def test_cache_folder_is_gpunet_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNET_HOME", "~/somewhere")
    assert datasets.cache_folder() == Path.home() / "somewhere"


def test_cache_folder_equals_that_of_pooch(monkeypatch: pytest.MonkeyPatch) -> None:
    pooch = pytest.importorskip("pooch")
    monkeypatch.setenv("GPUNET_HOME", "")
    for xdg in ("", "/elsewhere"):
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        assert datasets.cache_folder() == Path(pooch.os_cache("gpunet"))


def test_cache_folder_on_macos_and_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUNET_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert datasets.cache_folder() == Path.home() / "Library" / "Caches" / "gpunet"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "local")
    assert datasets.cache_folder() == Path("local", "gpunet", "gpunet", "Cache")


# Downloads


def test_mnist_is_downloaded_once(server: Server, remote_mnist: Arrays, home: Path) -> None:
    assert_holds(mnist.load_data(), remote_mnist)
    assert [path.name for path in home.iterdir()] == ["mnist.npz"]
    assert_holds(mnist.load_data(), remote_mnist)
    assert server.requests == ["/mnist.npz"]


def test_a_download_shows_its_progress(
    remote_mnist: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm")
    mnist.load_data()
    shown = capsys.readouterr()
    assert "100%" in shown.err
    assert shown.out == ""


def test_a_download_needs_no_tqdm(
    remote_mnist: Arrays, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert_holds(mnist.load_data(), remote_mnist)
    assert "%" not in capsys.readouterr().err


def test_fashion_mnist_is_downloaded_once(
    server: Server, remote_fashion: Arrays, home: Path
) -> None:
    assert_holds(fashion_mnist.load_data(), remote_fashion)
    assert_holds(fashion_mnist.load_data(), remote_fashion)
    assert sorted(server.requests) == sorted(f"/{name}" for name in server.files)
    assert {path.name for path in (home / "fashion-mnist").iterdir()} == set(server.files)


def assert_suggests_a_fix(error: Exception, home: Path) -> None:
    message = str(error)
    assert f"place mnist.npz in the folder {home} yourself" in message
    assert "gpunet.datasets.digits" in message


def test_no_network_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, server: Server, home: Path
) -> None:
    with Server() as gone:
        url = f"{gone.url}/mnist.npz"
    monkeypatch.setattr(mnist, "_FILE", cache.RemoteFile("mnist.npz", url, "00"))
    with pytest.raises(ConnectionError, match="Could not download") as caught:
        mnist.load_data()
    assert url in str(caught.value)
    assert_suggests_a_fix(caught.value, home)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("trouble", ["not found", "cut short", "other content"])
def test_a_failed_download_leaves_no_file(
    server: Server, remote_mnist: Arrays, home: Path, trouble: str
) -> None:
    if trouble == "not found":
        message = "404"
        del server.files["mnist.npz"]
    elif trouble == "cut short":
        message = "Could not download"
        server.missing = 100
    else:
        message = "SHA256 hash .* does not match"
        server.files["mnist.npz"] += b"more"
    with pytest.raises(ConnectionError, match=message) as caught:
        mnist.load_data()
    assert_suggests_a_fix(caught.value, home)
    assert list(home.iterdir()) == []


def test_a_read_only_folder_is_a_clear_error(remote_mnist: Arrays, home: Path) -> None:
    home.write_text("a file instead of the folder")
    with pytest.raises(OSError, match=r"Could not write .*mnist\.npz.* Set GPUNET_HOME"):
        mnist.load_data()


def test_without_pooch_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "gpunet\[datasets\]"') as caught:
        mnist.load_data()
    assert_suggests_a_fix(caught.value, home)
    assert not home.exists()


# Existing files


def test_an_existing_file_is_used_unchanged(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)  # existing files need no pooch
    arrays = make_arrays()
    home.mkdir()
    (home / "mnist.npz").write_bytes(npz_bytes(arrays))
    (home / "fashion_mnist.npz").write_bytes(npz_bytes(make_arrays(6)))
    home.chmod(0o555)
    before = [(path.name, path.stat().st_mtime_ns) for path in sorted(home.iterdir())]
    try:
        assert_holds(mnist.load_data(), arrays)
        assert_holds(fashion_mnist.load_data(), make_arrays(6))
        assert [(path.name, path.stat().st_mtime_ns) for path in sorted(home.iterdir())] == before
    finally:
        home.chmod(0o755)


def test_uncompressed_and_fortran_ordered_arrays_are_read(tmp_path: Path) -> None:
    arrays = make_arrays()
    path = tmp_path / "plain.npz"
    fortran = {**arrays, "x_test": np.asfortranarray(arrays["x_test"])}
    path.write_bytes(npz_bytes(fortran, np.savez))
    assert_holds(files.read_npz(path), arrays)


def test_existing_idx_files_are_used(home: Path) -> None:
    arrays = make_arrays()
    (home / "fashion-mnist").mkdir(parents=True)
    for name, content in fashion_files(arrays).items():
        (home / "fashion-mnist" / name).write_bytes(content)
    assert_holds(fashion_mnist.load_data(), arrays)


def test_idx_images_and_labels_must_match(home: Path) -> None:
    arrays = make_arrays()
    arrays["y_test"] = arrays["y_test"][:-1]
    (home / "fashion-mnist").mkdir(parents=True)
    for name, content in fashion_files(arrays).items():
        (home / "fashion-mnist" / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"t10k-labels.*found images \(6, 28, 28\) and labels"):
        fashion_mnist.load_data()


def test_real_mnist(mnist_home: Path) -> None:
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert y_test[:5].tolist() == [7, 2, 1, 0, 4]


# Digits


@pytest.fixture(scope="module")
def digit_data() -> LabelledImages:
    pytest.importorskip("sklearn")
    return digits.load_data()


def test_digits_have_the_shapes_of_mnist(digit_data: LabelledImages) -> None:
    (x_train, y_train), (x_test, y_test) = digit_data
    assert (x_train.shape, y_train.shape) == ((1437, 28, 28), (1437,))
    assert (x_test.shape, y_test.shape) == ((360, 28, 28), (360,))
    assert all(array.dtype == np.uint8 for array in (x_train, y_train, x_test, y_test))
    assert (x_train.min(), x_train.max()) == (0, 255)
    assert np.bincount(y_test, minlength=10).min() > 30


def test_digits_keep_the_order_of_scikit_learn(digit_data: LabelledImages) -> None:
    from sklearn.datasets import load_digits

    (_, y_train), (_, y_test) = digit_data
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), load_digits().target)


def test_digits_are_resized_bilinearly(digit_data: LabelledImages) -> None:
    torch = pytest.importorskip("torch")
    from sklearn.datasets import load_digits

    images = torch.tensor(load_digits().images[:200], dtype=torch.float64)
    expected = torch.nn.functional.interpolate(
        images[:, None] * (255 / 16), (28, 28), mode="bilinear", align_corners=False
    )[:, 0]
    # Rounding to integers changes a value by at most 1/2, float64 by less than 1e-9.
    assert np.abs(digit_data[0][0][:200] - expected.numpy()).max() <= 0.5 + 1e-9


def test_without_scikit_learn_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'scikit-learn.*pip install "gpunet\[datasets\]"'):
        digits.load_data()
