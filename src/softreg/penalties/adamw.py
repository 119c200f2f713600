"""AdamW: decoupled weight decay under Adam."""

from __future__ import annotations

from softreg.penalties.decoupled_decay import DecoupledDecay


class AdamW(DecoupledDecay):
    """torch.optim.AdamW(weight_decay=λ): decoupled decay that is not defined under another optimiser than Adam."""
