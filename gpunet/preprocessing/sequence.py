"""Sequences: `gpunet.utils.pad_sequences`."""

from gpunet.utils.sequences import pad_sequences

__all__ = ["pad_sequences"]
