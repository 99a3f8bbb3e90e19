"""Load, save and convert single images, by Pillow."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.arguments import check_choice, check_data_format
from gpunet.naming import find

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img"]

_COLOR_MODES = ("rgb", "rgba", "grayscale")
_INTERPOLATIONS = {
    name: name.upper()  # as Pillow names them
    for name in ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
}


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """Return an image file as a Pillow image.

    Arguments:
        path: a file name, or an `io.BytesIO` with the file's content.
        color_mode: ``"rgb"``, ``"rgba"`` or ``"grayscale"``; the last leaves gray images of 16 and
            32 bits as they are.
        target_size: the height and width to resize to; None keeps the image's own.
        interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos"``, ``"box"`` or
            ``"hamming"``, as Pillow does them.
        keep_aspect_ratio: whether to crop the image around its center to the target's aspect ratio
            before it is resized.

    Raises:
        ImportError: Pillow is not installed.
        OSError: there is no such file, or it cannot be read.
        TypeError, ValueError: an argument is none of the above, or the file is no image; the
            message names it.

    >>> import io
    >>> file = io.BytesIO()
    >>> save_img(file, np.zeros((4, 6, 3)), file_format="png")
    >>> load_img(file, target_size=(2, 3)).size
    (3, 2)
    """
    check_choice(color_mode, _COLOR_MODES, "color_mode", "load_img")
    pillow = _pillow("load_img")
    image = _opened(pillow, path)
    if color_mode == "grayscale":
        if image.mode not in ("L", "I;16", "I"):
            image = image.convert("L")
    elif image.mode != color_mode.upper():
        image = image.convert(color_mode.upper())
    if target_size is None:
        return image
    height, width = target_size
    if image.size == (width, height):
        return image
    resample = pillow.Resampling[find("interpolation", interpolation, _INTERPOLATIONS)]
    if not keep_aspect_ratio:
        return image.resize((width, height), resample)
    columns = min(image.width, image.height * width // height)
    rows = min(image.height, image.width * height // width)
    left, top = (image.width - columns) // 2, (image.height - rows) // 2
    return image.resize((width, height), resample, box=(left, top, left + columns, top + rows))


def _opened(pillow: Any, path: Any) -> Any:
    """Return a decoded image."""
    if isinstance(path, io.BytesIO):
        name, content = "the image in memory", path
    elif isinstance(path, str | bytes | os.PathLike):
        name, content = os.fsdecode(path), io.BytesIO(Path(os.fsdecode(path)).read_bytes())
    else:
        raise TypeError(
            f"load_img expects a file name or io.BytesIO, received {type(path).__name__}."
        )
    try:
        image = pillow.open(content)
        image.load()
    except Exception as error:  # damaged files make Pillow raise almost anything
        reason = "it is no image" if isinstance(error, pillow.UnidentifiedImageError) else error
        raise ValueError(f"The image {name} cannot be decoded: {reason}.") from error
    return image


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> np.ndarray:
    """Return a Pillow image as an array (height, width, channels).

    Arguments:
        img: the image; a gray one has one channel.
        data_format: ``"channels_last"``, the default, or ``"channels_first"`` for (channels,
            height, width).
        dtype: of the array, float32 by default.

    Raises:
        ValueError: for another data format, or something that is no image.
    """
    data_format = check_data_format(data_format, "img_to_array")
    array = np.asarray(img, dtype=dtype or np.float32)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3:
        raise ValueError(f"img_to_array expects one image, received shape {array.shape}.")
    return array.transpose(2, 0, 1) if data_format == "channels_first" else array


def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """Return an array (height, width, channels) as a Pillow image.

    Arguments:
        x: an image of 1 (gray), 3 (RGB) or 4 (RGBA) channels.
        data_format: ``"channels_last"``, the default, or ``"channels_first"``.
        scale: whether to scale the numbers so that the smallest is 0 and the largest 255; else they
            are taken as they are, without their fractions, and should be from 0 to 255. Gray images
            with larger numbers have 32 bits a pixel.
        dtype: to calculate in, float32 by default.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: for another shape or data format.

    >>> array_to_img(np.ones((4, 6, 3))).size
    (6, 4)
    """
    data_format = check_data_format(data_format, "array_to_img")
    pillow = _pillow("array_to_img")
    array = np.asarray(x, dtype=dtype or np.float32)
    if array.ndim != 3:
        raise ValueError(
            f"array_to_img expects one image with an axis of channels, received {array.shape}."
        )
    if data_format == "channels_first":
        array = array.transpose(1, 2, 0)
    if array.shape[2] not in (1, 3, 4):
        raise ValueError(f"array_to_img expects 1, 3 or 4 channels, received {array.shape[2]}.")
    if scale:
        array = array - array.min()
        largest = array.max()
        array = (array / largest if largest != 0 else array) * 255
    if array.shape[2] > 1:
        return pillow.fromarray(np.ascontiguousarray(array.astype(np.uint8)))
    gray = array[:, :, 0]
    return pillow.fromarray(gray.astype(np.int32 if gray.max() > 255 else np.uint8))


def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Save an array (height, width, channels) as an image file.

    Arguments:
        path: a file name, or an open binary file.
        x, data_format, scale: as in `array_to_img`.
        file_format: such as ``"png"``; by default as the file name ends. An open file needs it.
        **kwargs: options of Pillow's `Image.save`, such as ``quality=95``.

    Raises:
        ImportError, ValueError: as of `array_to_img`.
        OSError: the file cannot be written.
    """
    if file_format is None and isinstance(path, str | os.PathLike):
        file_format = Path(path).suffix[1:]
    file_format = {"jpg": "jpeg"}.get((file_format or "").lower(), file_format or None)
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and (file_format or "").lower() == "jpeg":
        warnings.warn("JPEG files have no alpha channel: it is left out.", stacklevel=2)
        image = image.convert("RGB")
    image.save(path, format=file_format, **kwargs)


def _pillow(where: str) -> Any:
    """Return the module PIL.Image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            f"{where} needs Pillow, which is not installed. "
            'Install it: pip install "gpunet[datasets]".'
        ) from error
    return Image
