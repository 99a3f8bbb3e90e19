"""Training: batches, steps, loops, and their capture on a GPU."""

__all__: list[str] = []
