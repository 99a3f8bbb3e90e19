"""Rules over the nodes of a graph: which neighbouring layers run as one primitive."""

from gpunet.fusion.chains import Chain, FusedLoss
from gpunet.fusion.plan import Step, call_with_loss, run, runs_graph, steps

__all__ = ["Chain", "FusedLoss", "Step", "call_with_loss", "run", "runs_graph", "steps"]
