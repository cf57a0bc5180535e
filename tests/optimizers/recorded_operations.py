"""What a CUDA graph would hold of a function, recorded and replayed on a CPU: operations, with numbers as they were."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FORBIDDEN = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.is_nonzero")


class HostRead(RuntimeError):
    """A number was read from a tensor, which cannot be recorded."""


class RecordedOperations(TorchDispatchMode):
    """Records the operations within it, and performs them. `replay` performs them again on the same memory, whatever
    it holds by then; numbers of Python are those of the recording."""

    def __init__(self) -> None:
        super().__init__()
        self._operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).rpartition(".")[0]
        if name in FORBIDDEN:
            raise HostRead(f"{name} reads a number on the host")
        result = function(*args, **kwargs or {})
        if function.namespace != "profiler":
            self._operations.append((function, args, kwargs or {}, _tensors(result)))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, results in self._operations:
            again = _tensors(function(*args, **kwargs))
            for kept, new in zip(results, again, strict=True):
                if kept.data_ptr() != new.data_ptr():
                    kept.copy_(new)


def into_operations(function: Callable[[], Any], changed: Iterable[Tensor]) -> Callable[[], None]:
    """Record `function`; what replays it. It is undone, by what was `changed`: recording into a graph runs nothing."""
    changed = list(changed)
    kept = [tensor.detach().clone() for tensor in changed]
    with RecordedOperations() as recorded:
        function()
    with torch.no_grad():
        for tensor, value in zip(changed, kept, strict=True):
            tensor.copy_(value)
    return recorded.replay


def into_a_graph(function: Callable[[], Any], _: Iterable[Tensor]) -> Callable[[], None]:
    """Record `function` into a CUDA graph; what replays it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
