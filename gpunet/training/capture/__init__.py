"""Training steps captured as graphs on a GPU."""

__all__: list[str] = []
