"""Data sets, their batches, and small functions around them."""

from gpunet.random import seed as set_random_seed
from gpunet.utils.audio_dataset import audio_dataset_from_directory
from gpunet.utils.dataset import Dataset
from gpunet.utils.image_dataset import image_dataset_from_directory
from gpunet.utils.images import array_to_img, img_to_array, load_img, save_img
from gpunet.utils.numerical import normalize, to_categorical
from gpunet.utils.py_dataset import PyDataset, Sequence
from gpunet.utils.sequences import pad_sequences
from gpunet.utils.splitting import split_dataset
from gpunet.utils.text_dataset import text_dataset_from_directory
from gpunet.utils.timeseries import timeseries_dataset_from_array

__all__ = [
    "Dataset", "PyDataset", "Sequence", "array_to_img", "audio_dataset_from_directory",
    "image_dataset_from_directory", "img_to_array", "load_img", "normalize", "pad_sequences",
    "save_img", "set_random_seed", "split_dataset", "text_dataset_from_directory",
    "timeseries_dataset_from_array", "to_categorical",
]  # fmt: skip
