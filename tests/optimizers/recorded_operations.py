"""What a CUDA graph would hold of a function, recorded and replayed on a CPU: operations, with numbers as they were."""

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


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
