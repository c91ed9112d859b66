"""CUDA kernels on the CPU, for tests: see cuda_host.hpp for what is and is not the same."""
