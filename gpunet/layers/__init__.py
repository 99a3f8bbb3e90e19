"""Layers under Keras' names."""

from gpunet.layers.convolution import Conv2D
from gpunet.layers.core import Activation, Dense, Dropout, Flatten, Input, Rescaling, Reshape
from gpunet.layers.layer import Layer
from gpunet.layers.pooling import AveragePooling2D, MaxPooling2D

__all__ = [
    "Activation",
    "AveragePooling2D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "Layer",
    "MaxPooling2D",
    "Rescaling",
    "Reshape",
]
