"""Layers, under Keras' names."""

from gpunet.layers.convolution import Conv2D
from gpunet.layers.dense import Activation, Dense
from gpunet.layers.input import Input, InputLayer
from gpunet.layers.layer import Layer
from gpunet.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from gpunet.layers.pooling import AveragePooling2D, MaxPooling2D
from gpunet.layers.preprocessing import Rescaling
from gpunet.layers.regularization import Dropout
from gpunet.layers.reshaping import Flatten, Reshape

__all__ = [
    "Activation",
    "Add",
    "Average",
    "AveragePooling2D",
    "Concatenate",
    "Conv2D",
    "Dense",
    "Dot",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "Layer",
    "MaxPooling2D",
    "Maximum",
    "Minimum",
    "Multiply",
    "Rescaling",
    "Reshape",
    "Subtract",
]
