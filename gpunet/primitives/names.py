"""The names of all primitives: each is a door, and a twin in `reference`, `fast` and `cuda`."""

from __future__ import annotations

__all__ = ["PRIMITIVES"]

PRIMITIVES = (
    "activate", "activate_backward", "adam_update", "add", "attention_backward",
    "attention_forward", "average_pool2d_backward", "average_pool2d_forward", "bias_backward",
    "chain_backward", "chain_cross_entropy", "chain_forward", "conv2d_backward_input",
    "conv2d_backward_weight", "conv2d_forward", "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight", "conv2d_max_pool_forward", "dense_backward_weight",
    "dense_each", "dense_each_backward_input", "dropout_backward", "dropout_forward",
    "embedding_backward", "gather_batch", "image_means", "log_softmax_backward",
    "log_softmax_forward", "matmul", "max_pool2d_backward", "max_pool2d_forward", "moving_averages",
    "network_forward", "normal_like", "normalize_backward", "normalize_channels",
    "normalize_channels_backward", "normalize_forward", "normalize_inference", "recolor_images",
    "recurrent_backward", "recurrent_forward", "rescale_forward", "sgd_update", "softmax_backward",
    "softmax_cross_entropy_backward", "softmax_cross_entropy_forward", "softmax_forward",
    "squares_are_finite", "uniform_like", "warp_images",
)  # fmt: skip
