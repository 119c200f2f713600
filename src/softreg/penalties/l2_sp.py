"""L2-SP: the distance to the pretrained weights."""

from __future__ import annotations

from typing import ClassVar

from softreg.penalties.l2 import L2


class L2SP(L2):
    """P(w) = Σ (w − w⁰)²/2, with w⁰ the pretrained weight, or 0 where a layer was not pretrained (Li et al., 2018).

    Both parts have one strength here, so that it is plain L2 on a network that starts from random weights.
    """

    origin: ClassVar[str] = "pretrained"
