"""The ways to make a step on a CPU, as arguments of `Adan`, for tests that must hold for each."""

import shutil

import pytest

FOREACH = pytest.param({"foreach": True}, id="foreach")
SINGLE_TENSOR = pytest.param({"foreach": False}, id="single-tensor")
has_compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
needs_compiler = pytest.mark.skipif(not has_compiler, reason="needs a C++ compiler")
FUSED = pytest.param({"fused": True}, id="fused", marks=needs_compiler)
EVERY = pytest.mark.parametrize("implementation", [FOREACH, SINGLE_TENSOR, FUSED])
