from itertools import pairwise

import numpy as np
import pytest
from published import options_of

from softreg.data import datasets
from softreg.data.datasets import brain
from softreg.data.datasets.brain import slab_places, tissue_classes
from softreg.errors import UserError


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brain")
    return datasets.load("brain").samples(options_of(folder, "brain"), folder)


def test_tissue_classes_by_hand():
    t1 = np.array([0.0, 0.5, 0.5, 0.5, 0.5, 0.5])
    grey = np.array([0.9, 0.5, 0.49, 0.6, 0.5, 0.1])
    white = np.array([0.0, 0.5, 0.49, 0.7, 0.3, 0.5])
    assert tissue_classes(t1, grey, white).tolist() == [0, 2, 1, 3, 2, 3]


def test_slabs_by_hand():
    # 120 slices less 8 gaps of 4 are 88: 61.6 for train in five slabs, 13.2 each for val and test in two.
    places = slab_places(0.15, 0.15, 4)
    assert len(places) == 88
    assert (places[0], places[-1]) == ((20, 0), (139, 8))
    lengths = np.bincount([slab for _, slab in places])
    np.testing.assert_allclose(lengths, [12.32, 6.6] * 4 + [12.32], atol=1)


@pytest.mark.parametrize("gap", [0, 4, 7])
def test_a_gap_lies_between_slabs(gap):
    places = slab_places(0.2, 0.1, gap)
    for (height, slab), (after, next_slab) in pairwise(places):
        assert after - height == (1 if slab == next_slab else gap + 1)


def test_samples_cover_the_brain_in_every_part(samples):
    assert len(samples) == 48
    heights = {part: [int(s.id[1:]) for s in samples if s.split == part] for part in ("train", "val", "test")}
    assert {part: len(of) for part, of in heights.items()} == {"train": 34, "val": 7, "test": 7}
    # Two slabs each, one in the lower and one in the upper half.
    for part in ("val", "test"):
        assert min(heights[part]) < 79 < max(heights[part])
    distance = min(abs(a - b) for a in heights["train"] for b in heights["val"] + heights["test"])
    assert distance > 4


def test_samples_are_what_nilearn_carries(samples):
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template

    t1, grey = (np.asarray(load(resolution=1).dataobj) for load in (load_mni152_template, load_mni152_gm_template))
    sample = samples[20]
    image, mask = sample.read()
    height = int(sample.id[1:])
    assert image.shape == (192, 96, 3)
    assert image.dtype == mask.dtype == np.uint8
    for row, column in np.random.default_rng(0).integers((0, 0), (192, 96), (200, 2)):
        # Row 0 is the foremost (y = 213), column 95 the midline (x = 98).
        voxel = column + 3, 213 - row, height
        assert image[row, column].tolist() == [round(float(t1[voxel]) * 255)] * 3
        assert (mask[row, column] == 0) == (t1[voxel] == 0)
        if mask[row, column] == 2:
            assert grey[voxel] >= 0.5
    assert set(np.unique(mask)) == {0, 1, 2, 3}


def test_the_crop_loses_no_brain():
    from nilearn.datasets import load_mni152_template

    left = np.asarray(load_mni152_template(resolution=1).dataobj)[:99]
    assert np.count_nonzero(left) == np.count_nonzero(left[brain.COLUMNS, brain.ROWS])


def test_too_many_slices(tmp_path):
    with pytest.raises(UserError, match="89 slices of the brain with gaps of 4, which leave 88"):
        datasets.load("brain").samples(options_of(tmp_path, "brain", slices=89), tmp_path)


def test_its_caveat_is_stated():
    assert "never a ranking" in datasets.load("brain").note
