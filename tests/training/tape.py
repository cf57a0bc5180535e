"""What a CUDA graph is, on a CPU: torch's operations written down with the memory they use, and performed there again.

As with a graph, nothing of Python is performed again, nothing may read a number on the host meanwhile, and recording
itself changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select")


def record(function: Callable[[], None]) -> Callable[[], None]:
    """Write down what `function` does; the answer does it again."""
    tape, chances = Tape(), torch.get_rng_state()
    with tape:
        function()
    tape.undo()
    torch.set_rng_state(chances)
    return tape.replay


class Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, Any, bool]] = []
        self._own: dict[int, Tensor] = {}  # by their memory: what was made meanwhile
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # of other memory that changes: a view of all of it, a copy

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if operation._schema.name in READS:
            raise RuntimeError(f"{operation._schema.name} is not permitted when stream is capturing")
        for tensor in _written(operation, args, kwargs):
            memory = tensor.untyped_storage().data_ptr()
            if memory not in self._own and memory not in self._before:
                whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                self._before[memory] = whole, whole.clone()
        results = operation(*args, **kwargs)
        for fresh in _fresh(operation, results):
            self._own[fresh.untyped_storage().data_ptr()] = fresh
        self._calls.append((operation, args, kwargs, results, torch.is_grad_enabled()))
        return results

    def undo(self) -> None:
        for whole, before in self._before.values():
            whole.copy_(before)

    def replay(self) -> None:
        for operation, args, kwargs, results, differentiated in self._calls:
            # Some operations keep what a backward pass needs only where there may be one.
            with torch.set_grad_enabled(differentiated), torch._C._AutoDispatchBelowAutograd():
                again = operation(*args, **kwargs)
            for kept, fresh in zip(_fresh(operation, results), _fresh(operation, again), strict=True):
                kept.copy_(fresh)


def _written(operation: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that an operation changes."""
    if operation._schema.name == "aten::native_batch_norm":  # of its running statistics the schema does not say so
        return [statistics for statistics in args[3:5] if statistics is not None]
    written = []
    for place, argument in enumerate(operation._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            written += [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
    return written


def _fresh(operation: Any, results: Any) -> list[Tensor]:
    """The results that are in memory of their own."""
    returned = results if isinstance(results, tuple) else (results,)
    fresh = []
    for declared, result in zip(operation._schema.returns, returned, strict=len(operation._schema.returns) > 0):
        if declared.alias_info is None:
            fresh += [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    return fresh
