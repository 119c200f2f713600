"""What one size for all costs. Samples are made of sizes alone."""

import pytest

from softreg.data.base import Sample
from softreg.data.sizes import common_size, padding_told
from softreg.errors import UserError


def samples(*sizes):
    return [Sample(f"{number}.png", size, tuple) for number, size in enumerate(sizes)]


def test_one_huge_image_does_not_set_the_size_of_all():
    # 100 million pixels × 100 images × 4 bytes; their own are 99 × 250,000 + 100 million.
    given = samples((10_000, 10_000), *[(500, 500)] * 99)
    with pytest.raises(UserError) as refused:
        common_size("mine", given, {"size": None, "fit": "pad"})
    assert str(refused.value) == (
        "`datasets.mine` has no `size`, and padding all 100 images to 10000 × 10000 makes 40 GB on disk, 80.2 times "
        "what their own pixels take; the largest is 0.png: give a smaller `size`, as [height, width], with `fit: "
        "resize`, leave out or cut what is so large, or give `size: [10000, 10000]` if you mean it"
    )
    for options in ({"size": [10_000, 10_000], "fit": "pad"}, {"size": [10_000, 10_000], "fit": "resize"}):
        assert common_size("mine", given, options) == (10_000, 10_000)


def test_padding_is_told_from_twice_the_images_own_pixels_and_done_up_to_ten_times():
    # 11 × 20 pixels of 20 + 10 × 1 are 7.3 times.
    given = samples((4, 5), *[(1, 1)] * 10)
    assert common_size("mine", given, {"size": None, "fit": "pad"}) == (4, 5)
    assert padding_told(given, (4, 5), "pad") == [
        "padding all 11 images to 4 × 5 makes 8.8e-07 GB on disk, 7.33 times what their own pixels take; `size` with "
        "`fit: resize` takes less"
    ]
    assert padding_told(given, (4, 5), "resize") == []
    assert padding_told(samples((4, 5), (4, 4)), (4, 5), "pad") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": [4, 5], "fit": "pad"}, r"mine\.size` is \[4, 5\], smaller than images of up to 4 × 6"),
        ({"size": None, "fit": "resize"}, r"resizes images of several sizes: give `size`, as \[height, width\]"),
    ],
)
def test_a_size_that_cannot_be_meant_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        common_size("mine", samples((4, 5), (3, 6)), options)
