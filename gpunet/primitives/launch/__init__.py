"""Find, compile, check and launch the CUDA kernels."""

__all__: list[str] = []
