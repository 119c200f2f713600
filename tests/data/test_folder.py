import numpy as np
import pytest
from PIL import Image
from published import blocks, encoded, options_of, photo

from softreg.data import datasets
from softreg.errors import UserError

CLASSES = ["sea", "land", "cloud"]
COLOURS = [[0, 0, 255], [0, 255, 0], [255, 255, 255]]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes files and lists the samples of a folder data set over them."""
    monkeypatch.chdir(tmp_path)

    class Own:
        def write(self, **files):
            for folder, members in files.items():
                (tmp_path / folder).mkdir(exist_ok=True)
                for name, content in members.items():
                    (tmp_path / folder / name).write_bytes(content)

        def samples(self, **given):
            given = {"images": "images", "masks": "masks", "classes": CLASSES} | given
            options = options_of(tmp_path, "folder", **given)
            return datasets.load("folder").samples(options, tmp_path)

        folder = tmp_path

        def remarks(self, **given):
            given = {"images": "images", "masks": "masks", "classes": CLASSES} | given
            options, dataset = options_of(tmp_path, "folder", **given), datasets.load("folder")
            dataset.samples(options, tmp_path)
            return dataset.remarks(options)

        def table(self, text, **given):
            (tmp_path / "data").mkdir(exist_ok=True)
            (tmp_path / "data" / "table.csv").write_text(text, encoding="utf-8-sig")
            return self.samples(images=None, masks=None, table="data/table.csv", **given)

    return Own()


def check(sample, image, mask):
    got_image, got_mask = sample.read()
    np.testing.assert_array_equal(got_image, image)
    np.testing.assert_array_equal(got_mask, mask)


def painted(indices, colours):
    return np.array(colours, np.uint8)[indices]


def test_pairs_by_name(own):
    own.write(
        images={"b.png": encoded(photo(2)), "a.bmp": encoded(photo(1), "BMP"), "notes.txt": b""},
        masks={"a.png": encoded(blocks([0, 1, 2])), "b.png": encoded(blocks([2, 255]))},
    )
    first, second = own.samples()
    assert (first.id, second.id) == ("a", "b")
    check(first, photo(1), blocks([0, 1, 2]))
    check(second, photo(2), blocks([2, 255]))


def test_grey_and_transparent_images(own):
    grey = photo(1)[..., 0]
    transparent = np.dstack([photo(2), photo(3)[..., 0]])
    mask = encoded(blocks([0, 1, 2]))
    own.write(images={"a.png": encoded(grey), "b.png": encoded(transparent)}, masks={"a.png": mask, "b.png": mask})
    first, second = own.samples()
    check(first, np.dstack([grey] * 3), blocks([0, 1, 2]))
    check(second, photo(2), blocks([0, 1, 2]))


SHUFFLED = [255, 255, 255, 0, 0, 255, 0, 255, 0] + [0] * 759


def test_a_png_with_a_palette_counts_by_index_where_no_colours_are_declared(own):
    own.write(images={"a.png": encoded(photo(1))}, masks={"a.png": encoded(blocks([0, 1, 2]), palette=SHUFFLED)})
    (sample,) = own.samples()
    check(sample, photo(1), blocks([0, 1, 2]))


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_declared_colours_decide_whatever_the_order_of_a_files_palette(own, form):
    mask = encoded(blocks([0, 1, 2]), form, palette=SHUFFLED)
    (mask_file,) = {"PNG": {"a.png": mask}, "GIF": {"a.gif": mask}}[form]
    own.write(images={"a.png": encoded(photo(1))}, masks={mask_file: mask})
    (sample,) = own.table(f"image,mask\n../images/a.png,../masks/{mask_file}\n", palette=COLOURS)
    # Of SHUFFLED, index 0 is the colour of a cloud (2), 1 that of the sea (0), and 2 that of land (1).
    check(sample, photo(1), blocks([2, 0, 1]))


def test_a_palette_with_a_colour_that_is_not_declared_is_refused_with_its_place(own):
    palette = [0, 0, 255, 0, 255, 0, 9, 8, 7] + [0] * 759
    own.write(images={"a.png": encoded(photo(1))}, masks={"a.png": encoded(blocks([0, 1, 2]), palette=palette)})
    (sample,) = own.samples(palette=COLOURS)
    with pytest.raises(UserError, match=r"masks/a\.png has the colour \[9, 8, 7\] at row 0, column 20, which"):
        sample.read()


def test_a_turned_picture_must_fit_its_mask_upright(own):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = encoded(np.ascontiguousarray(np.rot90(photo(1))), exif=exif)
    own.write(images={"a.png": stored}, masks={"a.png": encoded(blocks([0, 1, 2]))})
    (sample,) = own.samples()
    assert sample.size == (20, 30)
    check(sample, photo(1), blocks([0, 1, 2]))
    own.write(masks={"a.png": encoded(blocks([0, 1, 2], 30, 20))})
    with pytest.raises(UserError, match=r"is 30 × 20 pixels, but its image .* is 20 × 30 \(height × width, upright\)"):
        [sample.read() for sample in own.samples()]


TWO = ["background", "cell"]
NINE, GREY = [9, 9, 9], [7, 8, 9]


@pytest.mark.parametrize(
    ("mask", "given", "expected"),
    [
        (blocks([0, 7, 2]), {"ignore": 7}, [0, 255, 2]),
        (blocks([0, 255]), {"classes": TWO, "ignore": 255}, [0, 1]),
        (blocks([0, 255]), {"classes": TWO, "ignore": [255]}, [0, 1]),
        (blocks([0, 1, 2, 9, 255]), {"classes": TWO, "values": [1, 2], "ignore": [0, 9, 255]}, [255, 0, 1, 255, 255]),
        # A trimap: 1 pet, 2 background, 3 their border.
        (blocks([1, 2, 3, 255]), {"classes": TWO, "values": [[2, 255], 1], "ignore": 3}, [1, 0, 255, 0]),
        # Given values come before a value to ignore by default.
        (blocks([0, 255]), {"classes": TWO, "values": [0, 255]}, [0, 1]),
        (blocks([0, 255]), {"classes": TWO, "values": [255, 0]}, [1, 0]),
        (blocks([0, 255]), {"classes": TWO, "values": [0, 1]}, [0, 255]),
        (painted(blocks([0, 1, 2, 3]), [*COLOURS, NINE]), {"palette": COLOURS, "ignore": NINE}, [0, 1, 2, 255]),
        (
            painted(blocks([0, 1, 2, 3, 4]), [*COLOURS, NINE, GREY]),
            {"palette": COLOURS, "ignore": [GREY, NINE]},
            [0, 1, 2, 255, 255],
        ),
    ],
)
def test_what_a_mask_holds_becomes_classes_as_the_study_says(own, mask, given, expected):
    own.write(images={"a.png": encoded(photo(1))}, masks={"a.png": encoded(mask)})
    (sample,) = own.samples(**given)
    check(sample, photo(1), blocks(expected))
    said = "ignore" in given and given["ignore"] in (255, [255])
    assert len(own.remarks(**given)) == said


@pytest.mark.parametrize("given", [{}, {"ignore": 255}, {"ignore": None}])
def test_masks_of_0_and_255_alone_are_two_classes_and_it_is_said(own, given):
    masks = {"a.png": blocks([0, 255]), "b.png": blocks([0]), "c.png": blocks([255])}
    own.write(
        images={name: encoded(photo(1)) for name in masks}, masks={name: encoded(mask) for name, mask in masks.items()}
    )
    samples = own.samples(classes=TWO, **given)
    for sample, mask in zip(samples, masks.values(), strict=True):
        check(sample, photo(1), mask // 255)
    assert own.remarks(classes=TWO, **given) == [
        "the masks hold 0 and 255 alone: 255 is read as cell, and nothing is ignored"
    ]


def test_255_is_ignored_where_any_mask_holds_1(own):
    masks = {"a.png": blocks([0, 255]), "b.png": blocks([0, 1, 255])}
    own.write(
        images={name: encoded(photo(1)) for name in masks}, masks={name: encoded(mask) for name, mask in masks.items()}
    )
    for sample, mask in zip(own.samples(classes=TWO), masks.values(), strict=True):
        check(sample, photo(1), mask)
    assert own.remarks(classes=TWO) == []


def test_255_is_no_class_where_the_study_says_what_masks_hold(own):
    own.write(images={"a.png": encoded(photo(1))}, masks={"a.png": encoded(blocks([0, 255]))})
    (sample,) = own.samples()
    check(sample, photo(1), blocks([0, 255]))
    (sample,) = own.samples(classes=TWO, ignore=7)
    with pytest.raises(UserError, match=r"has the value 255 .* are 0, 1, 7; `values` gives each class other ones"):
        sample.read()
    (sample,) = own.samples(classes=TWO, palette=[[0, 0, 0], [255, 255, 255]])
    check(sample, photo(1), blocks([0, 1]))
    assert own.remarks(classes=TWO, palette=[[0, 0, 0], [255, 255, 255]]) == []


def test_all_faults_are_told_at_once(own):
    good, wide = encoded(blocks([0, 1, 2])), encoded(blocks([0, 1, 2], 20, 31))
    names = [f"{name}.png" for name in "abcde"]
    own.write(images={name: encoded(photo(1)) for name in names}, masks=dict.fromkeys(names, wide) | {"c.png": good})
    with pytest.raises(UserError) as refused:
        own.samples()
    told = "{0} is 20 × 31 pixels, but its image {1} is 20 × 30 (height × width, upright)"
    first = [told.format(f"masks/{name}.png", f"images/{name}.png") for name in "abd"]
    assert str(refused.value) == f"4 of 5 images with their masks are refused: {'; '.join(first)}; and 1 more"


def test_all_that_do_not_pair_are_told_at_once(own):
    mask = encoded(blocks([0]))
    own.write(images=GOOD["images"] | {"b.png": encoded(photo(1))}, masks={"y.png": mask, "z.png": mask})
    with pytest.raises(
        UserError, match=r"4 of 4 names are refused: .*images/a\.png has no mask.*b\.png has no .*and 1 more"
    ):
        own.samples()


def test_all_faults_of_a_table_are_told_at_once(own):
    own.write(**GOOD)
    rows = "../images/a.png,\n,b\n../images/a.png,../masks/a.png\n"
    with pytest.raises(UserError, match=r"2 of 3 lines are refused: .*line 2, lacks .*; .*line 3, lacks an image"):
        own.table("image,mask\n" + rows)


def test_a_value_that_no_class_has_is_refused_with_those_that_are_accepted(own):
    own.write(images={"a.png": encoded(photo(1))}, masks={"a.png": encoded(blocks([1, 2, 3, 255]))})
    (sample,) = own.samples(classes=TWO, values=[2, 1], ignore=3)
    with pytest.raises(UserError, match="has the value 255 at row 0, column 24: accepted are 1, 2, 3"):
        sample.read()


def test_values_of_sixteen_bits(own):
    mask = np.array([0, 1000, 65535, 7], np.uint16)[blocks([0, 1, 2, 3])]
    own.write(images={"a.png": encoded(photo(1))}, masks={"a.png": encoded(mask)})
    (sample,) = own.samples(values=[0, 65535, 7], ignore=[1000, 255])
    check(sample, photo(1), blocks([0, 255, 1, 2]))
    (sample,) = own.samples(values=[0, 1001, 7], ignore=1000)
    with pytest.raises(UserError, match="has the value 65535 at row 0, column 16: accepted are 0, 7, 1000, 1001;"):
        sample.read()


def test_sixteen_bit_and_one_bit_masks(own):
    own.write(
        images={"a.png": encoded(photo(1)), "b.png": encoded(photo(2))},
        masks={
            "a.png": encoded(blocks([0, 1, 2]).astype(np.uint16)),
            "b.png": encoded(blocks([0, 1]).astype(bool)),
        },
    )
    first, second = own.samples()
    check(first, photo(1), blocks([0, 1, 2]))
    check(second, photo(2), blocks([0, 1]))


GOOD = {"images": {"a.png": encoded(photo(1))}, "masks": {"a.png": encoded(blocks([0, 1, 2]))}}


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ({"images": {}, "masks": {}}, {}, r"images holds no images: accepted are \.png"),
        (GOOD | {"masks": {}}, {}, r"images/a\.png has no mask: expected masks/a with one of \.png"),
        ({"masks": GOOD["masks"]}, {}, r"images, which `images` .* names, is no folder"),
        (
            GOOD | {"images": GOOD["images"] | {"a.jpg": encoded(photo(1), "JPEG")}},
            {},
            r"a\.png and images/a\.jpg have the same name",
        ),
        (
            GOOD | {"masks": GOOD["masks"] | {"z.png": encoded(blocks([0]))}},
            {},
            r"masks/z\.png is a mask without an image in images",
        ),
        (GOOD | {"images": {"a.png": b"not an image"}}, {}, r"images/a\.png cannot be read as an image"),
        (
            GOOD | {"images": {"a.png": encoded(photo(1))[:-200]}},
            {},
            r"images/a\.png cannot be read as an image",
        ),
        (
            GOOD | {"images": {"a.png": encoded(photo(1)[..., 0].astype(np.uint16))}},
            {},
            r"images/a\.png has more than 8 bits a channel",
        ),
        (
            GOOD | {"masks": {"a.png": encoded(blocks([0, 1], 20, 31))}},
            {},
            r"masks/a\.png is 20 × 31 pixels, but its image images/a\.png is 20 × 30",
        ),
        (
            GOOD | {"masks": {"a.png": encoded(blocks([0, 1, 3]))}},
            {},
            r"masks/a\.png has the value 3 at row 0, column 20: accepted are 0, 1, 2, 255",
        ),
        (
            GOOD | {"masks": {"a.png": encoded(blocks([0, 1]).astype(np.uint16) * 300)}},
            {},
            r"masks/a\.png has the value 300 at row 0, column 15",
        ),
        (
            GOOD | {"masks": {"a.png": encoded(painted(blocks([0, 1]), COLOURS))}},
            {},
            r"masks/a\.png is not a mask of class indices: it has mode RGB",
        ),
        (
            GOOD | {"masks": {"a.png": encoded(painted(blocks([0, 1]), [[0, 0, 255], [1, 2, 3]]))}},
            {"palette": COLOURS},
            r"masks/a\.png has the colour \[1, 2, 3\] at row 0, column 15",
        ),
    ],
)
def test_refuses_naming_the_file(own, files, given, message):
    own.write(**files)
    with pytest.raises(UserError, match=message):
        [sample.read() for sample in own.samples(**given)]


def test_table(own):
    own.write(**GOOD)
    (sample,) = own.table("image,mask,split,site\n../images/a.png,../masks/a.png,val,north\n", split={"column": "site"})
    assert (sample.id, sample.split, sample.group) == ("../images/a.png", "val", "north")
    check(sample, photo(1), blocks([0, 1, 2]))


def test_spellings_of_one_group_are_one_group(own):
    own.write(images={f"{n}.png": encoded(photo(n)) for n in range(4)}, masks=GOOD["masks"])
    rows = "".join(f"../images/{n}.png,../masks/a.png,{group}\n" for n, group in enumerate(SPELT))
    groups = [sample.group for sample in own.table("image,mask,group\n" + rows)]
    assert groups == ["p\u00e9", "p\u00e9", "p\u00e9", None]


#: One group: as it is, with spaces, and with the accent as a character of its own; and none.
SPELT = ["p\u00e9", " p\u00e9 ", "pe\u0301", " "]


@pytest.mark.parametrize(
    "again", ["./../images/a.png", "../images//a.png", " ../images/a.png", "../data/../images/a.png"]
)
def test_an_image_under_two_spellings_is_refused(own, again):
    own.write(**GOOD)
    with pytest.raises(UserError, match=r"table\.csv, line 3, names the image \.\./images/a\.png, as line 2 does"):
        own.table(f"image,mask\n../images/a.png,../masks/a.png\n{again},../masks/a.png\n")


def test_an_image_is_found_under_any_spelling_and_named_by_one(own):
    own.write(**GOOD)
    (sample,) = own.table("image,mask,split\n ./../images/./a.png ,../masks/a.png, test \n")
    assert (sample.id, sample.split) == ("../images/a.png", "test")


def test_an_image_and_its_mask_pair_however_an_accent_is_written(own):
    own.write(images={"\u00e9.png": encoded(photo(1))}, masks={"e\u0301.png": encoded(blocks([0, 1, 2]))})
    (sample,) = own.samples()
    assert sample.id == "\u00e9"
    check(sample, photo(1), blocks([0, 1, 2]))


def test_files_that_are_left_out_are_counted_and_named(own):
    files = {f"{name}.raw": b"" for name in "dcba"} | {"notes.txt": b""}
    own.write(images=GOOD["images"] | files, masks=GOOD["masks"])
    (own.folder / "masks" / "more").mkdir()
    forms = ".png, .jpg, .jpeg, .bmp, .tif, .tiff, .gif, .webp, .npy"
    assert own.remarks() == [
        f"5 entries of images are left out, as they are no files with one of {forms}: a.raw, b.raw, c.raw and 2 more",
        f"1 entry of masks is left out, as it is no file with one of {forms}: more",
    ]
    (own.folder / "masks" / "more").rmdir()
    own.write(images={})
    assert len(own.remarks()) == 1


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_table_of_a_spreadsheet(own, between):
    own.write(**GOOD)
    lines = [" Image,MASK ,Split,Group,", "", "../images/a.png,../masks/a.png,val,p\u00e9", ",,,,"]
    (sample,) = own.table("\r\n".join(lines).replace(",", between))
    assert (sample.id, sample.split, sample.group) == ("../images/a.png", "val", "p\u00e9")
    check(sample, photo(1), blocks([0, 1, 2]))


def test_a_column_of_groups_is_named_in_any_case(own):
    own.write(**GOOD)
    text = "image,mask,Patient\n../images/a.png,../masks/a.png,7\n"
    (sample,) = own.table(text, split={"rule": "group", "column": "patient"})
    assert sample.group == "7"


@pytest.mark.parametrize("rule", ["group", "fraction"])
def test_a_column_that_the_study_names_must_be_there(own, rule):
    own.write(**GOOD)
    with pytest.raises(
        UserError, match=r"table\.csv has no column patient, which `split\.column` names: .* names image, mask, site$"
    ):
        own.table("Image,mask,site,\na,b,c,\n", split={"rule": rule, "column": "patient"})


@pytest.mark.parametrize(("stored", "named"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")])
def test_a_table_finds_files_however_an_accent_is_written(own, stored, named):
    own.write(images={f"{stored}.png": encoded(photo(1))}, masks={f"{stored}.png": encoded(blocks([0, 1, 2]))})
    (sample,) = own.table(f"image,mask\n../images/{named}.png,../masks/{named}.png\n")
    assert sample.id == "../images/\u00e9.png"
    check(sample, photo(1), blocks([0, 1, 2]))


def test_table_with_two_columns(own):
    own.write(**GOOD)
    (sample,) = own.table("image,mask\n../images/a.png,../masks/a.png\n")
    assert (sample.split, sample.group) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na,b\n", r"table\.csv has no column mask"),
        ("image,mask\n", r"table\.csv names no images"),
        ("", r"table\.csv names no images: its first line names the columns"),
        ("image,mask,Image\na,b,c\n", r"table\.csv has two columns image: give each a name of its own"),
        ("image,mask\n../images/a.png,\n", r"table\.csv, line 2, lacks an image or a mask"),
        (
            "image,mask,split\n../images/a.png,../masks/a.png,dev\n",
            r"line 2, has the split 'dev': accepted are train",
        ),
        ("image,mask\n../images/a.png,../masks/b.png\n", r"masks/b\.png is missing"),
    ],
)
def test_table_refuses(own, text, message):
    own.write(**GOOD)
    with pytest.raises(UserError, match=message):
        own.table(text)


def test_display_colours_are_distinct_without_a_palette(tmp_path):
    options = options_of(tmp_path, "folder", images="i", masks="m", classes=[f"c{i}" for i in range(12)])
    colours = list(datasets.load("folder").labels(options).values())
    distances = [np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colours) for b in colours[:i]]
    assert min(distances) > 40
