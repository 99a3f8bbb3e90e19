"""The functions of `gpunet.utils` that prepare data, under their names in `keras.preprocessing`."""

from gpunet.preprocessing import image, sequence
from gpunet.utils import (
    image_dataset_from_directory,
    text_dataset_from_directory,
    timeseries_dataset_from_array,
)

__all__ = [
    "image", "image_dataset_from_directory", "sequence",
    "text_dataset_from_directory", "timeseries_dataset_from_array",
]  # fmt: skip
