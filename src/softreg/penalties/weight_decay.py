"""Weight decay as optimisers have it: torch's `weight_decay`."""

from __future__ import annotations

from softreg.penalties.l2 import L2


class WeightDecay(L2):
    """L2 by its gradient: torch.optim.SGD(weight_decay=λ), or Adam's coupled form, whichever the study trains with."""

    realisations = ("subgradient",)
