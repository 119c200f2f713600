"""What the strength of one cell does: λ of a penalty, or that of a comparator or control in its place.

Comparators (dropout, label smoothing) regularise without a penalty on the weights. Controls (pruning, a small dense
network) make a network sparse or small in another way. All are entries of a study's ``penalties``. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

_STRENGTH_OF = {"dropout": "dropout", "label_smoothing": "smoothing", "pruning": "pruned", "small_dense": "removed"}
#: Kinds of a study's ``penalties`` that put no penalty on the weights.
CONTROLS = frozenset(_STRENGTH_OF)


@dataclass(frozen=True)
class Treatment:
    """One cell's strengths, all but one of them 0.

    ``lambda_`` multiplies the penalty; ``dropout`` is the share of channels dropped before the network's last layer;
    ``smoothing`` the ε of label smoothing; ``pruned`` the share of the weights set to zero; ``removed`` the share of
    the weights that a narrower network is without.
    """

    lambda_: float = 0.0
    dropout: float = 0.0
    smoothing: float = 0.0
    pruned: float = 0.0
    removed: float = 0.0


def treatment_of(kind: str, strength: float) -> Treatment:
    """What ``strength`` means for this kind of entry."""
    return Treatment(**{_STRENGTH_OF.get(kind, "lambda_"): strength})
