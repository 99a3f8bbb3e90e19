"""The table that `summary()` prints."""

from __future__ import annotations

from gpunet.layers.layer import Layer, Shape

__all__ = ["table"]


def table(model: Layer, rows: list[tuple[Layer, Shape | None]]) -> str:
    """Return a table of layers, their output shapes and numbers of weights, with the totals.

    Arguments:
        model: the model, for its name and the totals.
        rows: its layers with their output shapes, None where not known.
    """
    lines = [("Layer (type)", "Output shape", "Param #")]
    for layer, shape in rows:
        lines.append(
            (
                f"{layer.name} ({type(layer).__name__})",
                "?" if shape is None else str(shape),
                f"{layer.count_params():,}" if layer.built else "0 (unbuilt)",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    text = [
        f"{line[0]:<{widths[0]}}  {line[1]:<{widths[1]}}  {line[2]:>{widths[2]}}" for line in lines
    ]
    rule = "-" * len(text[0])
    trainable = sum(parameter.size for parameter in model.trainable_weights)
    frozen = sum(parameter.size for parameter in model.non_trainable_weights)
    size = sum(parameter.value.nbytes for parameter in model.weights)
    totals = [
        f"Total params: {trainable + frozen:,} ({_bytes(size)})",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {frozen:,}",
    ]
    return "\n".join(
        [f"Model: {model.name!r}", rule, text[0], rule, *text[1:], rule, *totals, rule]
    )


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
