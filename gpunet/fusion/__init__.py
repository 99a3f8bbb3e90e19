"""Rules over the nodes of a graph: which neighbouring layers run as one primitive."""

from gpunet.fusion.chains import Chain, FusedLoss
from gpunet.fusion.flat import runs_graph
from gpunet.fusion.frozen import Frozen
from gpunet.fusion.plan import Step, call_with_loss, run, steps, whole

__all__ = [
    "Chain",
    "Frozen",
    "FusedLoss",
    "Step",
    "call_with_loss",
    "run",
    "runs_graph",
    "steps",
    "whole",
]
