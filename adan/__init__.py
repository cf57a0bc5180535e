"""Adan: adaptive Nesterov momentum (Xie et al., arXiv 2208.06677), for torch.

    from adan import Adan

    optimizer = Adan(model.parameters(), lr=1.5e-2, weight_decay=0.02)

A drop-in for the authors' class of the same name, with its numbers and without its traps: see `adan.optimizer`.
"""

from adan.export import export_state_dict
from adan.optimizer import Adan

__all__ = ["Adan", "export_state_dict"]
