"""The CUDA kernels, run on the CPU: their real files, real launches, and NumPy arrays."""
