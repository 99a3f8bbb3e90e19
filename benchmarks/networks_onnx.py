"""ONNX Runtime as a contender: the networks of `networks_torch`, exported."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime
import torch

from benchmarks.cases import Case
from benchmarks.networks_keras import data
from benchmarks.networks_torch import network
from benchmarks.workers import Variant

__all__ = ["Library"]


class Library:
    """Cases of `benchmarks.networks` that it can run.

    Arguments:
        threads: number of threads.
    """

    def __init__(self, threads: int) -> None:
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.versions = {"ONNX Runtime": onnxruntime.__version__}

    def prediction(self, case: Case) -> dict[str, Variant]:
        images = torch.from_numpy(data(case.label, case.batch)[0]).permute(0, 3, 1, 2).contiguous()
        net = torch.nn.Sequential(network(case.label), torch.nn.Softmax(1)).eval()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            torch.onnx.export(net, (images,), file, dynamo=False, input_names=["x"])
            session = onnxruntime.InferenceSession(file.read_bytes(), self.options)
        feed = {"x": images.numpy()}
        return {"": Variant(lambda: session.run(None, feed)[0])}
