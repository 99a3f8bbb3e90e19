"""Train neural networks on CuPy arrays (GPU) and NumPy arrays (CPU) with one script."""

from gpunet import (
    activations,
    autograd,
    backend,
    callbacks,
    datasets,
    functions,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    preprocessing,
    primitives,
    random,
    regularizers,
    utils,
)
from gpunet.autograd import Parameter, Tensor, differentiable, no_grad
from gpunet.backend import require_gpu, use_backend
from gpunet.custom_kernel import kernel
from gpunet.functions.gradients import check_gradients, grad, value_and_grad
from gpunet.initializers import Initializer
from gpunet.layers import Input, Layer
from gpunet.losses import Loss
from gpunet.metrics import Metric
from gpunet.models import Model, Sequential
from gpunet.optimizers import Optimizer
from gpunet.primitives.precision import get_precision, set_precision
from gpunet.profiling.profile import profile
from gpunet.profiling.warmup import warmup
from gpunet.regularizers import Regularizer

__version__ = "0.1.0"

__all__ = [
    "Initializer", "Input", "Layer", "Loss", "Metric", "Model", "Optimizer", "Parameter",
    "Regularizer", "Sequential", "Tensor", "__version__", "activations", "autograd", "backend",
    "callbacks", "check_gradients", "datasets", "differentiable", "functions", "get_precision",
    "grad", "initializers", "kernel", "layers", "losses", "metrics", "models", "no_grad",
    "optimizers", "preprocessing", "primitives", "profile", "random", "regularizers", "require_gpu",
    "set_precision", "use_backend", "utils", "value_and_grad", "warmup",
]  # fmt: skip
