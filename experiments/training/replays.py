"""Functions of tensors, recorded once for each form of their arguments and replayed from then on: CUDA graphs.

A small network's update is some hundred operations that each take a GPU less time than it takes the host to ask for
them. A graph asks once for all. What it replays are operations on the very memory that they had when recorded: so a
function that is recorded reads what may change from tensors, and leaves its results in tensors that stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

Result = TypeVar("Result")
Record = Callable[[Callable[[], None]], Callable[[], None]]  # of a function: what replays it, nothing performed yet

MOST_FORMS = 128  # of one function: each holds its arguments and an instruction list in memory
CHECKED = 2  # replays of each name: the second meets other numbers than those that were there at the recording
AGREEMENT = 0.05  # see `Replays`; a wrong replay (a rate or a mask that stays as it was) is off by about 1


def directly(
    name: Hashable, function: Callable[..., Result], *arguments: Any, changes: Iterable[Tensor] = ()
) -> Result:
    """`function(*arguments)`: `Replays` without recording."""
    return function(*arguments)


class CannotRecord(Exception):
    """A function could not be recorded, or its replay was not what it does; nothing has changed."""


@dataclass
class _Form:
    """What is kept of a name and a form of arguments: nothing after the first call, which runs the function as it is.

    `arguments` are the fixed tensors, `results` what the function returned when it was recorded, in memory that the
    next replay of any graph may overwrite."""

    arguments: list[Tensor] = field(default_factory=list)
    replay: Callable[[], None] | None = None
    results: Any = None


class Replays:
    """Calls functions, from their second call with arguments of one form on by replay.

    The first `CHECKED` replays of every name are compared with the function itself, performed from the same numbers.
    Where more than a quarter of the tensors that it `changes` differ by more than `AGREEMENT` of their change (some
    kernels add in another order each time, and some gradients are nothing but rounding), it is not trusted. Functions
    that cannot be recorded, or are not trusted, are called as they are from then on, with one line from `say`; or, if
    this `insists`, CannotRecord is raised.
    """

    def __init__(self, record: Record, say: Callable[[str], None], insists: bool = False) -> None:
        self._record, self._say, self._insists = record, say, insists
        self._forms: dict[Hashable, dict[Hashable, _Form]] = {}
        self._checked: Counter[Hashable] = Counter()
        self._refused: set[Hashable] = set()

    def __call__(
        self, name: Hashable, function: Callable[..., Result], *arguments: Any, changes: Iterable[Tensor] = ()
    ) -> Result:
        """`function(*arguments)`; tensors that it returns are good until the next call.

        `name` stands for the function and for all that it reads beside its arguments: numbers that never change, and
        tensors that stay where they are. `arguments` are trees whose tensors are copied for a replay; other leaves
        belong to their form. `changes` are the tensors that the function changes.
        """
        leaves, tree = tree_flatten(arguments)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        key = (tree, *((leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in leaves))
        forms = self._forms.setdefault(name, {})
        if name in self._refused or (key not in forms and len(forms) >= MOST_FORMS):
            return function(*arguments)
        form = forms.get(key)
        if form is None:
            forms[key] = _Form()
            return function(*arguments)  # kernels are chosen and compiled, memory is set aside
        try:
            if form.replay is None:
                self._record_form(form, function, leaves, tree)
            if self._checked[name] < CHECKED:
                _compare(function, arguments, lambda: self._replayed(form, tensors), list(changes))
                self._checked[name] += 1
        except CannotRecord as error:
            if self._insists:
                raise
            self._refused.add(name)
            forms.clear()
            self._say(f"capture=auto: {error}; going on one operation at a time")
            return function(*arguments)
        return self._replayed(form, tensors)

    def _record_form(self, form: _Form, function: Callable[..., Any], leaves: list[Any], tree: Any) -> None:
        fixed = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        form.arguments = [leaf for leaf in fixed if isinstance(leaf, Tensor)]

        def perform() -> None:
            form.results = function(*tree_unflatten(fixed, tree))

        cached = torch.is_autocast_cache_enabled()
        # Casts that a surrounding autocast has cached would be gone when the graph is replayed.
        torch.set_autocast_cache_enabled(cached and not torch.is_autocast_enabled(_device_type(form.arguments)))
        try:
            form.replay = self._record(perform)
        except RuntimeError as error:
            raise CannotRecord(f"an update cannot be recorded ({str(error).strip().partition(chr(10))[0]})") from error
        finally:
            torch.set_autocast_cache_enabled(cached)

    def _replayed(self, form: _Form, tensors: Sequence[Tensor]) -> Any:
        assert form.replay is not None
        for fixed, tensor in zip(form.arguments, tensors, strict=True):
            fixed.copy_(tensor, non_blocking=True)
        form.replay()
        return form.results


def into_cuda_graphs(device: torch.device) -> Record:
    """Record into CUDA graphs that share one pool of memory, each of which only leaves its results there until another
    is replayed. From here on this process works in a stream of its own: the first one cannot be recorded."""
    torch.cuda.synchronize(device)
    stream = torch.cuda.Stream(device)
    torch.cuda.set_stream(stream)
    pool = torch.cuda.graph_pool_handle()

    def record(function: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # Threads that pin memory for data workers may go on meanwhile.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            function()
        return graph.replay

    return record


def _compare(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    replay: Callable[[], Any],
    changes: Sequence[Tensor],
) -> None:
    """Perform the function, and its replay, from the same numbers, and put all that `changes` back. Raises CannotRecord
    where they disagree."""
    before, chances = _copies(changes), _chances()
    ends = []
    for perform in (lambda: function(*arguments), replay):
        results = [leaf for leaf in tree_flatten(perform())[0] if isinstance(leaf, Tensor)]
        ends.append(_copies([*changes, *results]))
        _put_back(changes, before)
        _draw_again(chances)
    before += map(torch.zeros_like, ends[0][len(before) :])
    differing = sum(not _agree(*three) for three in zip(before, *ends, strict=True))
    if differing > len(before) / 4:
        raise CannotRecord("replaying what was recorded gives other numbers than performing it")


def _device_type(tensors: Sequence[Tensor]) -> str:
    return tensors[0].device.type if tensors else "cuda"


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _put_back(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _chances() -> tuple[Tensor, Tensor | None]:
    """The states of torch's generators."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None


def _draw_again(states: tuple[Tensor, Tensor | None]) -> None:
    on_cpu, on_gpu = states
    torch.set_rng_state(on_cpu)
    if on_gpu is not None:
        torch.cuda.set_rng_state(on_gpu)


def _agree(before: Tensor, expected: Tensor, found: Tensor) -> bool:
    """Whether both ends are the same to `AGREEMENT` of how far they are from `before`, in the 2-norm; numbers that are
    not finite must be so in both."""
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        return False
    old, one, other = (torch.where(finite, values, 0).double() for values in (before, expected, found))
    apart, change = (other - one).square().sum().item(), (one - old.nan_to_num()).square().sum().item()
    return apart <= AGREEMENT**2 * change
