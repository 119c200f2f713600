import numpy as np
import pytest

from softreg.data.base import IGNORE
from softreg.scoring.complexity import of_masks


def test_boundary_density_and_classes_by_hand():
    masks = np.array([[[0, 0, 1], [0, 0, 1]], [[2, 2, 2], [2, 2, 2]], [[0, IGNORE, 1], [0, 0, 1]]], dtype=np.uint8)
    rows = of_masks(masks, 3)
    # 7 pairs of neighbours, 2 of them across; none across; of the 4 without an ignored pixel, 1 across.
    assert rows["boundary_density"].tolist() == pytest.approx([2 / 7, 0, 1 / 4])
    assert rows["classes"].tolist() == [2, 1, 2]


def test_a_mask_that_is_ignored_has_no_density():
    rows = of_masks(np.full((1, 2, 2), IGNORE, np.uint8), 2)
    assert np.isnan(rows["boundary_density"].item())
    assert rows["classes"].item() == 0
