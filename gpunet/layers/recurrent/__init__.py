"""Recurrent layers, their cells, and layers that apply another along time."""

# ruff: noqa: F403
from gpunet.layers.recurrent.cells import *
from gpunet.layers.recurrent.convolutional import *
from gpunet.layers.recurrent.rnn import *
from gpunet.layers.recurrent.sequences import *
from gpunet.layers.recurrent.stacked import *
from gpunet.layers.recurrent.wrappers import *
from gpunet.naming import public_names

__all__ = public_names(globals())
