"""Decoupled weight decay, as in AdamW."""

from __future__ import annotations

from softreg.penalties.l2 import L2


class DecoupledDecay(L2):
    """L2 whose gradient bypasses the optimiser: w ← w − lr·λ·w before each step (Loshchilov and Hutter, 2019)."""

    realisations = ("decoupled",)
