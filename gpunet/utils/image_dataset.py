"""Data sets of the image files in a folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import boolean, check_choice, check_data_format, lowered, positive_integer
from gpunet.utils.directories import FileDataset, Selection, datasets_of_files
from gpunet.utils.images import img_to_array, load_img
from gpunet.utils.resizing import INTERPOLATIONS, crop_box, resize, resize_with_padding

__all__ = ["image_dataset_from_directory"]

_WHERE = "image_dataset_from_directory"
_FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_COLOR_MODES = ("rgb", "rgba", "grayscale")


def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> FileDataset | tuple[FileDataset, FileDataset]:
    """Return the data set of the images in a folder, a subfolder for each class.

    Each epoch yields batches ``(images, labels)``: float32 (batch, height, width, channels) from 0
    to 255, and labels as `label_mode` says. Files end in .bmp, .gif (its first picture), .jpeg,
    .jpg or .png. Threads decode them ahead; order and bits do not depend on their number.

    Arguments:
        directory: the folder.
        labels: ``"inferred"`` for those of the subfolders in alphanumeric order; a list with an
            integer for each file, in the order of the paths; None for images without labels.
        label_mode: ``"int"`` for int32 (batch,), ``"categorical"`` for one-hot float32 (batch,
            classes), ``"binary"`` for float32 (batch, 1) of two classes, None for no labels.
        class_names: the subfolders to read, in the order of their labels.
        color_mode: ``"rgb"``, ``"rgba"`` or ``"grayscale"``, for 3, 4 and 1 channels. Pillow makes
            colors gray; TensorFlow's numbers differ by 1 in places.
        batch_size: images in a batch; None yields images one by one.
        image_size: the height and width that all images are resized to.
        shuffle: whether the images come in another order in each epoch. The set for validation of
            ``subset="both"`` keeps one order.
        seed: an integer for the order; None takes one from `gpunet.random`.
        validation_split: the share of the files to validate with, above 0 and below 1.
        subset: ``"training"``, ``"validation"``, or ``"both"`` for a pair of data sets; given with
            `validation_split`. The same seed gives the same split.
        interpolation: ``"bilinear"``, ``"nearest"``, ``"bicubic"``, ``"area"``, ``"lanczos3"``,
            ``"lanczos5"``, ``"gaussian"`` or ``"mitchellcubic"``, without smoothing.
        follow_links: whether subfolders that are links are read.
        crop_to_aspect_ratio: whether images are cropped around their center, not distorted.
        pad_to_aspect_ratio: whether images are padded with zeros, not distorted.
        data_format: ``"channels_last"``, the default, or ``"channels_first"``.
        format: accepted for Keras' scripts, ``"tf"`` or ``"grain"``; both return the same.
        verbose: whether to print the number of files.

    Returns:
        A data set with `class_names`, `file_paths`, a length, and the methods of
        `gpunet.utils.Dataset`; two of them for ``subset="both"``.

    Raises:
        ImportError: Pillow is not installed.
        OSError: the folder or a file cannot be read.
        TypeError, ValueError: an argument is out of its range, no image is found, or an image
            cannot be decoded, which names the file.

    Example:
        >>> from gpunet.utils import image_dataset_from_directory
        >>> flowers = image_dataset_from_directory("flowers")  # doctest: +SKIP
        Found 3670 files belonging to 5 classes.
        >>> images, labels = next(iter(flowers))  # doctest: +SKIP
        >>> images.shape, labels.shape  # doctest: +SKIP
        ((32, 256, 256, 3), (32,))
    """
    check_choice(color_mode, _COLOR_MODES, "color_mode", _WHERE)
    check_choice(format, ("tf", "grain"), "format", _WHERE)
    interpolation = check_choice(lowered(interpolation), INTERPOLATIONS, "interpolation", _WHERE)
    layout = check_data_format(data_format, _WHERE)
    size = _size(image_size)
    crop = boolean(crop_to_aspect_ratio, "crop_to_aspect_ratio", _WHERE)
    pad = boolean(pad_to_aspect_ratio, "pad_to_aspect_ratio", _WHERE)
    if crop and pad:
        raise ValueError(
            f"{_WHERE}: choose crop_to_aspect_ratio or pad_to_aspect_ratio, received both."
        )

    def load(path: str) -> np.ndarray:
        image = img_to_array(load_img(path, color_mode))
        if pad:
            image = resize_with_padding(image, size, interpolation)
        else:
            if crop:
                image = image[crop_box(image.shape[:2], size)]
            image = resize(image, size, interpolation)
        return image if layout == "channels_last" else image.transpose(2, 0, 1)

    selection = Selection(
        _WHERE, directory, labels, label_mode, class_names, batch_size, shuffle, seed,
        validation_split, subset, follow_links, verbose,
    )  # fmt: skip
    return datasets_of_files(selection, _FORMATS, load)


def _size(image_size: Any) -> tuple[int, int]:
    pair = image_size if isinstance(image_size, list | tuple) else (image_size, image_size)
    if len(pair) != 2:
        raise ValueError(f"{_WHERE}: image_size is (height, width), received {image_size!r}.")
    height, width = (positive_integer(size, "image_size", _WHERE) for size in pair)
    return height, width
