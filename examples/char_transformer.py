"""Train a small transformer to write like Shakespeare, one character at a time.

python examples/char_transformer.py
python examples/char_transformer.py another.txt --steps 2000 --prompt "ROMEO:"
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

import gpunet
from gpunet.datasets import shakespeare
from gpunet.layers import Dense, Embedding, Input, Layer, LayerNormalization, MultiHeadAttention
from gpunet.models import Model

TIME, WIDTH, HEADS, BLOCKS = 64, 64, 4, 2


class Positions(Layer):
    """Add a weight of its own for each position in time."""

    def build(self, input_shape: Any) -> None:
        self.weight = self.add_weight((TIME, input_shape[-1]), "normal", name="weight")

    def call(self, x: Any) -> Any:
        return x + self.weight[: x.shape[1]]


def build_model(characters: int) -> Model:
    text = Input((None,), dtype="int64")
    x = Positions()(Embedding(characters, WIDTH)(text))
    for _ in range(BLOCKS):
        y = LayerNormalization()(x)
        x = x + MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)
        x = x + Dense(WIDTH)(Dense(4 * WIDTH, activation="gelu")(LayerNormalization()(x)))
    return Model(text, Dense(characters, activation="softmax")(LayerNormalization()(x)))


def main() -> None:
    args = parse_arguments()
    gpunet.random.seed(args.seed)
    try:
        (train, test), characters = shakespeare.load_data(args.text)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"No text. {error}")
    if len(test) <= TIME:
        count = len(train) + len(test)
        sys.exit(f"The text needs more than {10 * TIME} characters, it has {count}.")

    model = build_model(len(characters))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 3e-3
    x, y = windows(train, args.steps * args.batch_size, args.seed)
    model.fit(x, y, batch_size=args.batch_size, shuffle=False)
    loss = model.evaluate(*windows(test, 200, args.seed), verbose=0)
    print(f"Loss on text not seen: {loss:.3f} a character")
    print(args.prompt + write(model, characters, args.prompt, args.length, args.seed))


def windows(numbers: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return parts of a text, and for each character the one that follows it."""
    starts = np.random.default_rng(seed).integers(0, len(numbers) - TIME, count)
    places = starts[:, None] + np.arange(TIME)
    return numbers[places], numbers[places + 1]


def write(model: Model, characters: list[str], prompt: str, length: int, seed: int) -> str:
    """Return characters drawn one after another, each by the probabilities that the model gives."""
    rng, written = np.random.default_rng(seed), ""
    for _ in range(length):
        seen = [characters.index(c) for c in (prompt + written)[-TIME:] if c in characters]
        probabilities = model(np.array([seen])).numpy()[0, -1].astype("float64")
        written += rng.choice(characters, p=probabilities / probabilities.sum())
    return written


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?", help="a file of text; by default plays of Shakespeare")
    parser.add_argument("--steps", type=int, default=500, help="batches to train on")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--prompt", default="ROMEO:", help="what the model goes on from")
    parser.add_argument("--length", type=int, default=200, help="characters to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("steps", "batch_size", "length"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            option = name.replace("_", "-")
            parser.error(f"--{option} must be at least 1, received {getattr(args, name)}")
    return args


if __name__ == "__main__":
    main()
