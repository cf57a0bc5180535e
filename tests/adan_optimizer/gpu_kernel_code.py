"""What Triton generates for a launch on a GPU that need not be there."""

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed: it comes with torch's builds for CUDA")

CAPABILITIES = pytest.mark.parametrize("capability", [80, 90])


def compiled(launch, capability, directory, monkeypatch):
    """The kernel as compiled for an NVIDIA GPU of `capability` (90 for 9.0), with the options of the launch."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(directory))
    signature, constants, attributes = {}, {}, {}
    names = {torch.int64: "*i64", torch.int32: "*i32", torch.float32: "*fp32", torch.float64: "*fp64"}
    for place, (parameter, value) in enumerate(zip(launch.kernel.params, launch.arguments, strict=True)):
        if parameter.is_constexpr or value is None:
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name], attributes[place,] = names[value.dtype], [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp64" if isinstance(value, float) else "i32"
    source = triton.compiler.ASTSource(launch.kernel, signature, constants, attributes)
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options=launch.options)


def variant(launch):
    """The types of the arguments, and what Triton compiles in about them."""
    backend = triton.compiler.make_backend(triton.backends.compiler.GPUTarget("cuda", 90, 32))
    bind = triton.runtime.jit.create_function_from_signature(launch.kernel.signature, launch.kernel.params, backend)
    return bind(*launch.arguments, **launch.options)[1]
