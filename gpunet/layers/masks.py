"""Masks: which parts of a tensor count, as layers pass them on.

A mask is a bool array (batch, ...) of the first axes of its tensor, False where a step is padding.
"""

from __future__ import annotations

import warnings
from typing import Any

from gpunet import functions
from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray
from gpunet.layers.tracking import describe
from gpunet.structure import flatten, map_structure, pack

__all__ = ["as_masks", "masks_of", "pass_masks", "with_masks"]


def masks_of(inputs: Any) -> Any:
    """Return the mask of a tensor, or those of a structure; None where no tensor has one."""
    if isinstance(inputs, Tensor):
        return inputs.mask
    if not isinstance(inputs, list | tuple | dict):
        return None
    found = [getattr(x, "mask", None) if isinstance(x, Tensor) else None for x in flatten(inputs)]
    return None if all(mask is None for mask in found) else pack(inputs, found)


def as_masks(mask: Any, inputs: Any) -> Any:
    """Return a given mask, or a structure of masks like the inputs', as bool arrays.

    Raises:
        ValueError: a mask broadcasts neither to the first sizes of its input nor to its shape.
    """
    if isinstance(inputs, Tensor):
        return _as_mask(mask, inputs)
    tensors = flatten(inputs)
    masks = list(mask.values()) if isinstance(mask, dict) else mask
    if not isinstance(masks, list | tuple) or len(masks) != len(tensors):
        raise ValueError(
            f"mask must be a list of {len(tensors)} masks, one for each input (None for none), "
            f"received {_described(masks)}."
        )
    pairs = zip(flatten(list(masks)), tensors, strict=True)
    return pack(inputs, [None if m is None else _as_mask(m, x) for m, x in pairs])


def _described(masks: Any) -> str:
    if isinstance(masks, list | tuple):
        return str(len(masks))
    return f"one of shape {masks.shape}" if hasattr(masks, "shape") else type(masks).__name__


def _as_mask(mask: Any, like: Tensor) -> Array:
    array = mask.value if isinstance(mask, Tensor) else mask
    array = asarray(array, dtype=bool, like=like.value)
    shape = array.shape
    if not (_broadcasts(shape, like.shape[: len(shape)]) or _broadcasts(shape, like.shape)):
        raise ValueError(
            f"mask must have the first sizes of its input of shape {like.shape}, such as "
            f"{like.shape[:2]} for one bool a step, received shape {array.shape}."
        )
    return array


def _is_of_steps(mask: Array, of: Tensor) -> bool:
    """Return whether a mask has the first sizes of a tensor."""
    return mask.ndim > 0 and mask.shape == of.shape[: mask.ndim]


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Return whether an array broadcasts to a shape, as the masks that softmax takes do."""
    pairs = zip(shape[::-1], to[::-1], strict=False)
    return 0 < len(shape) <= len(to) and all(size in (1, whole) for size, whole in pairs)


def pass_masks(layer: Any, inputs: Any, output: Any, previous: Any) -> Any:
    """Return the output of a layer with the masks that the layer computes for it.

    Arguments:
        layer: where it does not support masks, a warning says so of inputs that have one.
        inputs: of the layer.
        output: tensors that have a mask keep it.
        previous: the masks of the inputs.
    """
    if not layer.supports_masking:
        if masks_of(inputs) is not None:
            warnings.warn(
                f"{describe(layer)} received an input with a mask and does not pass masks on: the "
                "layers after it, the loss and the metrics will count the masked steps too. Set "
                "supports_masking = True in the layer if its output has the same steps.",
                stacklevel=4,
            )
        return output
    leaves = flatten(output)
    if all(tensor.mask is not None for tensor in leaves):
        return output
    computed = layer.compute_mask(inputs, previous)
    if computed is None:
        return output
    given = flatten(inputs)
    for position, (tensor, mask) in enumerate(zip(leaves, flatten(computed), strict=False)):
        if mask is None or tensor.mask is not None or not _is_of_steps(mask, tensor):
            continue
        if any(tensor is x for x in given):  # the input itself stays without a mask
            leaves[position] = tensor = functions.reshape(tensor, tensor.shape)
        tensor.mask = mask.value if isinstance(mask, Tensor) else mask
    return pack(output, leaves)


def with_masks(inputs: Any, masks: Any) -> Any:
    """Return tensors of the same values with other masks; None leaves a tensor as it is."""
    masks = iter(flatten(as_masks(masks, inputs)))

    def masked(x: Tensor) -> Tensor:
        mask = next(masks)
        if mask is None:
            return x
        y = functions.reshape(x, x.shape)
        y.mask = mask
        return y

    return map_structure(masked, inputs)
