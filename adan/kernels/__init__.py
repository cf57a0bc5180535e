"""Kernels that make an Adan step in one pass over memory: `cpu` (C++, built on first use), `gpu` (Triton)."""
