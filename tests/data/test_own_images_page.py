"""The page on your own images: each row of its table is written to disk, checked and prepared, and its program run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from published import blocks, encoded, options_of, photo

from softreg.contract.own_images import look
from softreg.data.base import PARTS
from softreg.data.prepare import prepare

PAGE = (Path(__file__).parents[2] / "docs" / "own-images.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([^|]+?) \| (`classes: .*`) \|$", PAGE, re.MULTILINE))
NAMES = [f"{number}" for number in range(6)]
BLUE, GREEN, WHITE, GREY = (0, 0, 255), (0, 255, 0), (255, 255, 255), (128, 128, 128)
SIZE = (16, 24)


def stripes(*values):
    return blocks(list(values), *SIZE)


def colours(*painted):
    return np.array(painted, np.uint8)[stripes(*range(len(painted)))]


def png(array, **options):
    return ".png", encoded(array, **options)


def npy(array):
    np.save("array.npy", array)
    return ".npy", Path("array.npy").read_bytes()


def voc(*indices):
    return png(stripes(*indices), palette=[*WHITE, *GREY, *BLUE, *[0] * 759])


def turned(form):
    exif = Image.Exif()
    exif[0x0112] = 6

    def make(seed):
        stored = np.ascontiguousarray(np.rot90(smooth(seed)))
        return f".{form.lower()}", encoded(stored, form, exif=exif, quality=95)

    return make


def smooth(seed):
    """A picture that lossy forms hardly change (H, W, 3)."""
    return np.broadcast_to((20 * seed + np.arange(SIZE[1]) * 4).astype(np.uint8)[:, None], (*SIZE, 3)).copy()


def deep(seed):
    return smooth(seed)[..., 0].astype(np.uint16) * 16


THREE = [0, 1, 2]
TWO_PAINTED = png(colours(BLUE, GREEN, WHITE))
#: Of each row: a mask file, and the classes of its stripes; where they matter, how an image is made, and its levels.
FILES = {
    "masks of 0, 1 and 2, in PNG, BMP or TIFF": [
        (png(stripes(*THREE)), THREE),
        ((".bmp", encoded(stripes(*THREE), "BMP")), THREE),
        ((".tif", encoded(stripes(*THREE), "TIFF")), THREE),
    ],
    "masks of 0 and 255, two classes": [(png(stripes(0, 255)), [0, 1])],
    "a trimap: 1 the pet, 2 the background, 3 the border, which does not count": [(png(stripes(2, 3, 1)), [0, 255, 1])],
    "the same, the border taken for background": [(png(stripes(2, 3, 1)), [0, 0, 1])],
    "masks of 1 and 2, with 0 and 255 where nobody looked": [(png(stripes(0, 1, 2, 255)), [255, 0, 1, 255])],
    "masks painted in colours, white where nobody looked": [(TWO_PAINTED, [0, 1, 255])],
    "the same, with white and grey": [(png(colours(BLUE, GREEN, WHITE, GREY)), [0, 1, 255, 255])],
    "masks whose files have a palette, numbered alike in all, as in Pascal VOC": [(voc(0, 1, 2, 255), [0, 1, 2, 255])],
    "masks in GIF, grey": [((".gif", encoded(stripes(200, 0), "GIF")), [1, 0])],
    "masks in GIF, in colours": [
        ((".gif", encoded(stripes(0, 1), "GIF", palette=[*colour, *other, *[0] * 762])), classes)
        for colour, other, classes in ((BLUE, GREEN, [0, 1]), (GREEN, BLUE, [1, 0]))
    ],
    "photographs in JPEG or WebP, with an orientation in EXIF": [
        (png(stripes(*THREE)), THREE, turned("JPEG"), smooth),
        (png(stripes(*THREE)), THREE, turned("WEBP"), smooth),
    ],
    "grey images of 12 bits, in TIFF or PNG of 16": [
        (png(stripes(*THREE)), THREE, lambda seed: png(deep(seed)), lambda seed: smooth(seed) * (16 * 255 / 4095)),
        (
            png(stripes(*THREE)),
            THREE,
            lambda seed: (".tif", encoded(deep(seed), "TIFF")),
            lambda seed: smooth(seed) * (16 * 255 / 4095),
        ),
    ],
    "arrays of NumPy, `.npy`: images of bytes, masks of integers or booleans": [
        (stripes(*THREE).astype(np.int64), THREE, lambda s: npy(smooth(s)), smooth)
    ],
    "arrays of NumPy, `.npy`: images of 0.0 to 1.0": [
        (stripes(*THREE)[..., None], THREE, lambda seed: npy(smooth(seed) / 255), smooth)
    ],
    "images of several sizes": [(png(stripes(*THREE)), THREE)],
    "a table with commas, semicolons or tabs": [(png(stripes(*THREE)), THREE)] * 3,
    "several images of each patient, in a table": [(png(stripes(*THREE)), THREE)],
}


def test_every_row_of_the_page_has_files_here():
    assert list(ROWS) == list(FILES)


def as_png(seed):
    return png(photo(seed, *SIZE))


def cases():
    return [pytest.param(row, case, id=f"{row}-{case}") for row, made in FILES.items() for case in range(len(made))]


@pytest.mark.parametrize(("row", "case"), cases())
def test_a_row_of_the_page_works_as_it_stands(row, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask, classes, make, levels = (*FILES[row][case], as_png, lambda seed: photo(seed, *SIZE))[:4]
    written = dict(item for text in re.findall("`(.*?)`", ROWS[row]) for item in yaml.safe_load(text).items())
    for number, name in enumerate(NAMES):
        suffix, content = make(number)
        save("images", name + suffix, content)
        suffix, content = npy(mask) if isinstance(mask, np.ndarray) else mask
        save("masks", name + suffix, content)
    if row == "images of several sizes":
        save("images", "0.png", encoded(photo(0, 32, 48)))
        save("masks", "0.png", encoded(blocks(THREE, 32, 48)))
    if "table" in written:
        write_table(",;\t"[case])
    else:
        written |= {"images": "images", "masks": "masks"}
    options = options_of(tmp_path, "folder", **written)
    look("mine", options)
    about = prepare("mine", options, tmp_path, tmp_path / "out", 1)
    for part in PARTS:
        for id_, image, found in zip(about["ids"][part], *arrays(tmp_path / "out" / part), strict=True):
            number = int(Path(id_).stem)
            np.testing.assert_array_equal(found, stripes(*classes))
            if (row, number) != ("images of several sizes", 0):
                np.testing.assert_allclose(image.astype(float), levels(number), atol=atol(row))
    if row.startswith("several images"):
        assert {frozenset(groups) for groups in about["groups"].values()} == {frozenset(letter) for letter in "ABC"}


def atol(row):
    return 4 if "JPEG" in row else 0.51


def save(folder, name, content):
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / name).write_bytes(content)


def write_table(between):
    lines = [("image", "mask", "patient")]
    lines += [(f"images/{name}.png", f"masks/{name}.png", "ABC"[int(name) // 2]) for name in NAMES]
    Path("table.csv").write_text("\n".join(map(between.join, lines)), encoding="utf-8")


def arrays(folder):
    return (np.load(folder / f"{name}.npy") for name in ("images", "masks"))


@pytest.fixture
def polygons(tmp_path, monkeypatch):
    """The program of the page, as it stands there."""
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    names = {}
    exec(program, names)
    return names


#: The corners of a rectangle over columns 2 to 5 and rows 3 to 7, and of one over columns 4 to 9 and rows 6 and 7.
FIRST, SECOND = [[2, 3], [6, 3], [6, 8], [2, 8]], [[4, 6], [10, 6], [10, 8], [4, 8]]


def expected(first, second):
    mask = np.zeros((10, 12), np.uint8)
    mask[3:8, 2:6] = first
    mask[6:8, 4:10] = second
    return mask


def test_polygons_of_coco_become_masks(polygons):
    flat = [[float(level) for corner in outline for level in corner] for outline in (FIRST, SECOND)]
    given = {
        "images": [
            {"id": 7, "file_name": "train/a.jpg", "height": 10, "width": 12},
            {"id": 8, "file_name": "train/b.jpg", "height": 10, "width": 12},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "segmentation": [flat[0]]},
            {"image_id": 7, "category_id": 1, "segmentation": [flat[1]]},
            {"image_id": 8, "category_id": 1, "segmentation": flat},
        ],
    }
    Path("annotations.json").write_text(json.dumps(given))
    polygons["from_coco"]("annotations.json")
    np.testing.assert_array_equal(np.array(Image.open("masks/a.png")), expected(1, 2))
    np.testing.assert_array_equal(np.array(Image.open("masks/b.png")), expected(2, 2))
    given["annotations"][0]["segmentation"] = {"counts": [1], "size": [10, 12]}
    Path("annotations.json").write_text(json.dumps(given))
    with pytest.raises(AssertionError, match="run lengths are no outline"):
        polygons["from_coco"]("annotations.json")


def test_polygons_of_labelme_become_masks(polygons):
    shapes = [
        {"label": label, "points": points, "shape_type": "polygon"} for label, points in (("b", FIRST), ("a", SECOND))
    ]
    given = {"shapes": shapes, "imageHeight": 10, "imageWidth": 12}
    save("labels", "c.json", json.dumps(given).encode())
    polygons["from_labelme"]("labels", ["background", "a", "b"])
    np.testing.assert_array_equal(np.array(Image.open("masks/c.png")), expected(2, 1))
