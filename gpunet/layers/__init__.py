"""Layers, under Keras' names."""

# ruff: noqa: F403
from gpunet.layers.activation import *
from gpunet.layers.adaptive_pooling import *
from gpunet.layers.attention import *
from gpunet.layers.augmentation import *
from gpunet.layers.batch_normalization import *
from gpunet.layers.borders import *
from gpunet.layers.categories import *
from gpunet.layers.color_augmentation import *
from gpunet.layers.convolution import *
from gpunet.layers.convolution_transpose import *
from gpunet.layers.dense import *
from gpunet.layers.depthwise import *
from gpunet.layers.einsum import *
from gpunet.layers.embedding import *
from gpunet.layers.global_pooling import *
from gpunet.layers.hashing import *
from gpunet.layers.image_preprocessing import *
from gpunet.layers.input import *
from gpunet.layers.lambdas import *
from gpunet.layers.layer import Layer as Layer
from gpunet.layers.lookup import *
from gpunet.layers.masking import *
from gpunet.layers.merging import *
from gpunet.layers.mixing import *
from gpunet.layers.multi_head_attention import *
from gpunet.layers.normalization import *
from gpunet.layers.pipeline import *
from gpunet.layers.pooling import *
from gpunet.layers.preprocessing import *
from gpunet.layers.recurrent import *
from gpunet.layers.regularization import *
from gpunet.layers.reshaping import *
from gpunet.layers.spectral_normalization import *
from gpunet.layers.text import *
from gpunet.layers.upsampling import *
from gpunet.naming import public_names

__all__ = public_names(globals())
