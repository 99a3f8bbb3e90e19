"""Models under Keras' names."""

from gpunet.models.model import Model
from gpunet.models.sequential import Sequential
from gpunet.training.finite import NonFiniteLossError

__all__ = ["Model", "NonFiniteLossError", "Sequential"]
