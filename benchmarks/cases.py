"""Cases that `python -m benchmarks.cpu` and `pytest benchmarks` measure, and their FLOP."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from benchmarks.programs import BATCH_SIZES, CONVOLUTIONS, DENSE, Conv

__all__ = ["PARTS", "SGEMM", "START", "Case", "Part", "flop", "inference_flop", "step_flop"]


@dataclass(frozen=True)
class Case:
    """A single measurement.

    Attributes:
        part: key of `PARTS`; each `Library` has a method of this name.
        label: unique within the part.
        batch: images in a call; rows and columns of a matrix product.
        calls: calls in a turn.
        size, channels, filters, padding: of an operation on square images.
        input_grad: whether to compute the gradient of a convolution's input.
        samples: number of training images.
        tests: number of test images for the accuracy.
        epochs: passes over the training images.
        loading_batch: images in calls before memory is measured, which load the library's code;
            0 for no such calls.
    """

    part: str
    label: str
    batch: int
    calls: int = 1
    size: int = 0
    channels: int = 0
    filters: int = 0
    padding: int = 0
    input_grad: bool = True
    samples: int = 0
    tests: int = 0
    epochs: int = 1
    loading_batch: int = 0

    def __str__(self) -> str:
        return f"{self.part}: {self.label}"

    @property
    def images(self) -> int:
        """Images in a call."""
        return self.samples * self.epochs or self.batch

    def options(self) -> dict[str, Any]:
        """Return the arguments that recreate this case."""
        return asdict(self)

    def quick(self) -> Case:
        """Return the case cut down for a dry run."""
        few = min(self.samples, 640)
        return replace(self, calls=1, samples=few, tests=min(self.tests, 640), epochs=1)


class Part(NamedTuple):
    """Cases of one kind.

    Attributes:
        title: heading in the report.
        about: description in the report.
        cases: measurements.
        rounds: turns of each contender, if not as many as the command line says.
    """

    title: str
    about: str
    cases: tuple[Case, ...]
    rounds: int | None = None


def _conv(name: str, batch: int, calls: int, conv: Conv, **options: Any) -> Case:
    size, channels, filters = conv
    label = f"{name}, {size}x{size}, {channels} to {filters} channels, batch {batch}"
    return Case("conv", label, batch, calls, size, channels, filters, **options)


def _on_images(part: str, batch: int, calls: int, size: int, channels: int) -> Case:
    label = f"{size}x{size}, {channels} channels, batch {batch}"
    return Case(part, label, batch, calls, size, channels)


SGEMM = Case("sgemm", "1024x1024 times 1024x1024", 1024, calls=4)
START = Case("train", "batch 32", 32)

PARTS = {
    "conv": Part(
        "3x3 convolution, forward and backward",
        "The output and the gradients of kernel and input, without bias or activation. The "
        "program's first layer needs no input gradient.",
        (
            _conv("ResNet-like", 8, 4, Conv(56, 64, 64), padding=1),
            _conv("the program's first", 128, 20, CONVOLUTIONS[0], input_grad=False),
            _conv("the program's second", 128, 8, CONVOLUTIONS[1]),
            _conv("the program's third", 128, 30, CONVOLUTIONS[2]),
        ),
    ),
    "pool": Part(
        "2x2 max pooling, forward and backward",
        "The output and the gradient of the input.",
        (
            _on_images("pool", 128, 20, 26, 32),
            _on_images("pool", 128, 40, 11, 64),
        ),
    ),
    "activation": Part(
        "ReLU, forward and backward",
        "The output and the gradient of the input.",
        (_on_images("activation", 128, 20, 26, 32),),
    ),
    "train": Part(
        "Training step of the program",
        "Forward, backward and Adam on one batch; the loss is read after each step. gpunet: "
        "`train_on_batch`. PyTorch: a plain loop without metrics.",
        tuple(Case("train", f"batch {n}", n, max(1, 1024 // n)) for n in BATCH_SIZES),
    ),
    "inference": Part(
        "Inference of the program",
        "Probabilities of one batch, as a NumPy array. gpunet and Keras: `predict_on_batch`. "
        "PyTorch: the network and softmax in `inference_mode`.",
        tuple(Case("inference", f"batch {n}", n, max(2, 1024 // n)) for n in (1, 32, 1024)),
    ),
    "epoch": Part(
        "An epoch of MNIST",
        "60,000 images in memory, shuffled, batch 32. gpunet and Keras: `fit`. PyTorch: a plain "
        "loop over a random permutation, without a DataLoader.",
        (Case("epoch", "60,000 images, batch 32", 32, samples=60_000),),
        rounds=3,
    ),
    "mnist": Part(
        "The full program: 10 epochs of MNIST",
        "One run: train on 60,000 images for 10 epochs, batch 32, then evaluate on the 10,000 test "
        "images. The time includes both.",
        (
            Case(
                "mnist", "10 epochs, batch 32", 32, samples=60_000, tests=10_000, epochs=10
            ),
        ),
        rounds=1,
    ),
}  # fmt: skip


def conv_flop(size: int, channels: int, filters: int, padding: int = 0) -> int:
    """Return the FLOP of a 3x3 convolution of an image, two for each multiply-add.

    >>> conv_flop(28, 1, 32) == 2 * 26 * 26 * 32 * 9
    True
    """
    output = size + 2 * padding - 2
    return 2 * output * output * filters * 9 * channels


def inference_flop() -> int:
    """Return the FLOP of the program's matrix products in a forward pass, per image."""
    return sum(conv_flop(*conv) for conv in CONVOLUTIONS) + sum(2 * n * m for n, m in DENSE)


def step_flop() -> int:
    """Return the FLOP of a training step, per image: forward, weight and input gradients.

    The gradient of the images is not computed. The count is of the direct algorithm: outputs that
    fill no pooling window and faster algorithms do not lower it.

    >>> round(step_flop() / 1e6, 1)
    16.2
    """
    return 3 * inference_flop() - conv_flop(*CONVOLUTIONS[0])


def flop(case: Case) -> int:
    """Return the FLOP of a call; 0 for memory-bound operations."""
    if case.part == "sgemm":
        return 2 * case.batch**3
    if case.part == "conv":
        products = 3 if case.input_grad else 2
        one = conv_flop(case.size, case.channels, case.filters, case.padding)
        return products * case.batch * one
    if case.part == "inference":
        return case.batch * inference_flop()
    if case.part in ("train", "epoch", "mnist"):
        return case.images * step_flop() + case.tests * inference_flop()
    return 0
