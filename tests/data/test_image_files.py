"""What a file holds decides, not what the library makes of it. The pixels of each file are known by construction."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from published import blocks, encoded, photo

from softreg.data.base import image_size, read_image, read_values
from softreg.data.image_files import read_colours
from softreg.errors import UserError

ORIENTATION = 0x0112
#: What the standard says of each orientation: which pixels the file's rows hold, of an upright picture.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def turned(upright, orientation, form="PNG"):
    """A file of the pixels as a camera stores them that was held so."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(np.ascontiguousarray(STORED[orientation](upright)), form, exif=exif)


def png(height, width, bits, kind, rows, extra=b""):
    """A PNG of these packed rows; ``kind`` is 0 for grey, 2 for RGB, 3 for a palette."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def saved(tmp_path, content, name="a.png"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def stack(form, **options):
    """Three frames in one file."""
    frames = [Image.fromarray(photo(number)) for number in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("width", [20, 30])
def test_a_turned_file_is_read_upright_images_and_masks_alike(tmp_path, form, orientation, width):
    picture, mask = photo(1, 20, width), blocks([0, 1, 2], 20, width)
    image_file = saved(tmp_path, turned(picture, orientation, form))
    mask_file = saved(tmp_path, turned(mask, orientation, form), "mask")
    assert image_size(image_file) == (20, width)
    np.testing.assert_array_equal(read_image(image_file), picture)
    np.testing.assert_array_equal(read_values(mask_file), mask)
    np.testing.assert_array_equal(read_colours(image_file), picture)


def test_the_size_of_a_turned_photograph(tmp_path):
    file = saved(tmp_path, turned(photo(1), 6, "JPEG"))
    assert image_size(file) == read_image(file).shape[:2] == (20, 30)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_grey_mask_of_any_depth_has_the_values_that_are_stored(tmp_path, bits):
    values = np.arange(16).reshape(2, 8) % min(2**bits, 13)
    packed = [sum(int(v) << bits * (7 - i) for i, v in enumerate(row)).to_bytes(bits, "big") for row in values]
    np.testing.assert_array_equal(read_values(saved(tmp_path, png(2, 8, bits, 0, packed))), values)


def test_a_palette_of_four_bits_has_the_indices_that_are_stored(tmp_path):
    colours = bytes(range(48))
    palette = struct.pack(">I", 48) + b"PLTE" + colours + struct.pack(">I", zlib.crc32(b"PLTE" + colours))
    file = saved(tmp_path, png(1, 4, 4, 3, [b"\x01\x2f"], palette))
    assert read_values(file).tolist() == [[0, 1, 2, 15]]


def test_sixteen_bits_a_channel_are_refused_whatever_mode_the_library_gives(tmp_path):
    file = saved(tmp_path, png(1, 2, 16, 2, [bytes(range(12))]))
    with pytest.raises(UserError, match=r"a\.png has more than 8 bits a channel \(16\): convert it to 8 bits"):
        read_image(file)
    with pytest.raises(UserError, match="more than 8 bits a channel"):
        read_colours(file)


def tiff(samples, bits, extra=(), value=7):
    """A TIFF of one row of two RGB pixels with ``samples`` channels, each of ``value``."""
    data = struct.pack(f"<{2 * samples}{'H' if bits == 16 else 'B'}", *[value] * 2 * samples)
    wide = {258: [bits] * samples, 338: list(extra)}
    short = {256: 2, 257: 1, 259: 1, 262: 2, 277: samples, 278: 1}
    tags = sorted([*short, 273, 279, *(tag for tag, values in wide.items() if values)])
    after = 8 + 2 + 12 * len(tags) + 4
    entries, tail = b"", b""
    for tag in tags:
        values = wide.get(tag) or [short.get(tag, {273: 0, 279: len(data)}.get(tag))]
        packed = struct.pack(f"<{len(values)}H", *values)
        if tag == 273:
            entries += struct.pack("<HHII", tag, 4, 1, after + 4 * samples)
        elif len(packed) <= 4:
            entries += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
        else:
            entries += struct.pack("<HHII", tag, 3, len(values), after + len(tail))
            tail += packed
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4 + tail.ljust(4 * samples, b"\0") + data


def test_a_tiff_of_eight_bits_is_read(tmp_path):
    assert (read_image(saved(tmp_path, tiff(3, 8))) == 7).all()
    # The fourth is transparency (2), which is no colour.
    assert (read_image(saved(tmp_path, tiff(4, 8, [2]))) == 7).all()


def test_a_tiff_of_sixteen_bits_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"more than 8 bits a channel \(16\)"):
        read_image(saved(tmp_path, tiff(3, 16)))


@pytest.mark.parametrize(("samples", "extra"), [(4, [0]), (4, []), (5, [0, 0]), (5, [2, 0])])
def test_channels_that_are_no_colour_are_refused(tmp_path, samples, extra):
    with pytest.raises(UserError, match=rf"has {samples} channels, of which 3 can be used: save .* alone"):
        read_image(saved(tmp_path, tiff(samples, 8, extra)))


@pytest.mark.parametrize(("form", "options"), [("TIFF", {}), ("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True})])
@pytest.mark.parametrize("read", [read_image, read_values, read_colours, image_size])
def test_a_file_of_several_pages_is_refused(tmp_path, form, options, read):
    with pytest.raises(UserError, match=r"a\.png holds 3 pages or frames.*save each to its own file"):
        read(saved(tmp_path, stack(form, **options)))


@pytest.mark.parametrize("form", ["TIFF", "GIF", "PNG", "WEBP"])
def test_a_file_that_is_cut_anywhere_is_told_in_one_sentence(tmp_path, form):
    whole = stack(form)
    for length in range(1, len(whole), len(whole) // 40):
        with pytest.raises(UserError, match=r"a\.png (cannot be read as an image|holds \d pages)"):
            read_image(saved(tmp_path, whole[:length]))


def test_a_photograph_with_previews_is_its_first_picture(tmp_path):
    greys = [Image.new("L", (30, 20), level) for level in (200, 100)]
    greys[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=greys[1:])
    with Image.open(tmp_path / "a.jpg") as file:
        assert (file.format, file.n_frames) == ("MPO", 2)
    assert (read_image(tmp_path / "a.jpg") == 200).all()


@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {"quality": 100}), ("WEBP", {"quality": 100}), ("TIFF", {"compression": "jpeg"})],
)
def test_a_mask_in_a_form_that_changes_values_is_refused_though_they_fit(tmp_path, form, options):
    file = saved(tmp_path, encoded(np.zeros((20, 30), np.uint8), form, **options))
    assert read_image(file).shape == (20, 30, 3)
    for read in (read_values, read_colours):
        with pytest.raises(UserError, match=rf"a\.png is a mask in {form}.*save masks as PNG"):
            read(file)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_a_mask_in_a_form_that_keeps_values_is_read(tmp_path, form):
    mask = blocks([0, 1, 2, 255])
    np.testing.assert_array_equal(read_values(saved(tmp_path, encoded(mask, form))), mask)


def test_a_form_whose_depth_cannot_be_told_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.png has the format PPM: accepted are PNG, .*; convert it"):
        read_image(saved(tmp_path, b"P6 2 1 65535\n" + b"\x12\x34" * 6))


def npy(tmp_path, array, name="a.npy"):
    np.save(tmp_path / name, array)
    return tmp_path / name


@pytest.mark.parametrize("write", [npy, lambda path, array: saved(path, encoded(array), "a.png")])
def test_levels_that_are_stated_are_scaled_to_eight_bits(tmp_path, write):
    # A quarter of the range is level 63.75, half is 127.5: both are rounded up; what lies beyond is cut off.
    file = write(tmp_path, np.array([[100, 200, 300, 500, 600, 0]], np.uint16))
    picture = read_image(file, [100, 500])
    assert picture.shape == (1, 6, 3)
    assert [pixel.tolist() for pixel in picture[0]] == [[level] * 3 for level in (0, 64, 128, 255, 255, 0)]


def test_arrays_of_shares_are_scaled_channel_by_channel(tmp_path):
    file = npy(tmp_path, np.array([[[0, 0.5, 1], [0.2, 2, -1]]], np.float64))
    assert read_image(file, [0, 1]).tolist() == [[[0, 128, 255], [51, 255, 0]]]
    with pytest.raises(UserError, match=r"a\.npy holds float64: save it as uint8, or state its levels, `range`"):
        read_image(file)
    with pytest.raises(UserError, match=r"holds a value that is no number \(NaN\)"):
        read_image(npy(tmp_path, np.array([[np.nan, 1]])), [0, 1])


@pytest.mark.parametrize("array", [photo(1), photo(1)[::-1]])
def test_levels_are_for_one_channel_of_a_picture(tmp_path, array):
    with pytest.raises(UserError, match=r"a\.png is not a grey image, which alone `range` is for: it has mode RGB"):
        read_image(saved(tmp_path, encoded(array)), [0, 4095])


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.int64, ">u2"])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1)])
def test_an_array_of_any_whole_numbers_is_a_mask(tmp_path, kind, shape):
    mask = blocks([0, 1])
    file = npy(tmp_path, mask.astype(kind).reshape(shape))
    assert image_size(file) == (20, 30)
    np.testing.assert_array_equal(read_values(file), mask)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3)])
def test_an_array_of_bytes_is_an_image(tmp_path, shape):
    picture = photo(1)[..., : shape[-1] if len(shape) == 3 else 1]
    file = npy(tmp_path, picture.reshape(shape))
    np.testing.assert_array_equal(read_image(file), np.broadcast_to(picture, (20, 30, 3)))
    np.testing.assert_array_equal(read_colours(file), read_image(file))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), r"has the shape \(3, 20, 30\): accepted are \(H, W\), \(H, W, 1\) and"),
        (np.zeros((20, 0), np.uint8), r"has the shape \(20, 0\)"),
        (np.zeros(20, np.uint8), r"has the shape \(20,\)"),
        (np.array([[{}]], object), "cannot be read as an array of NumPy"),
    ],
)
def test_arrays_that_are_no_image_are_refused(tmp_path, array, message):
    with pytest.raises(UserError, match=rf"a\.npy {message}"):
        image_size(npy(tmp_path, array))


def test_masks_in_arrays_are_one_channel_of_whole_numbers(tmp_path):
    for array in (photo(1), np.zeros((2, 2))):
        with pytest.raises(
            UserError, match=r"a\.npy is not a mask of class indices: it holds (uint8|float64), [23] dim"
        ):
            read_values(npy(tmp_path, array))


def test_an_array_that_is_cut_is_told_in_one_sentence(tmp_path):
    whole = npy(tmp_path, photo(1)).read_bytes()
    for length in range(0, len(whole), 40):
        with pytest.raises(UserError, match=r"a\.npy cannot be read as an array of NumPy"):
            read_image(saved(tmp_path, whole[:length], "a.npy"))
    with pytest.raises(UserError, match=r"b\.npy is missing"):
        read_image(tmp_path / "b.npy")


def test_a_gif_has_the_grey_levels_that_were_saved_however_it_numbers_them(tmp_path):
    mask = blocks([0, 2, 7])
    file = saved(tmp_path, encoded(mask, "GIF"), "a.gif")
    with Image.open(file) as stored:
        assert set(np.unique(np.array(stored))) == {0, 1, 2}, "the program has numbered the levels anew"
    np.testing.assert_array_equal(read_values(file), mask)
    np.testing.assert_array_equal(read_values(saved(tmp_path, encoded(blocks([0, 255]), "GIF"))), blocks([0, 255]))


def test_a_gif_of_colours_has_no_indices_to_rely_on(tmp_path):
    palette = [0, 0, 0, 9, 9, 9, 200, 0, 0] + [0] * 759
    file = saved(tmp_path, encoded(blocks([0, 2]), "GIF", palette=palette), "a.gif")
    with pytest.raises(UserError, match=r"a\.gif is a GIF of colours.*give each class its colour by `palette`"):
        read_values(file)
    # A colour that no pixel has makes it no GIF of colours.
    file = saved(tmp_path, encoded(blocks([0, 1]), "GIF", palette=palette, optimize=False), "b.gif")
    np.testing.assert_array_equal(read_values(file), blocks([0, 9]))


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 90}])
def test_an_image_in_webp_is_read(tmp_path, options):
    smooth = np.broadcast_to(np.arange(0, 240, 8, dtype=np.uint8)[:, None], (20, 30, 3))
    picture = read_image(saved(tmp_path, encoded(smooth, "WEBP", **options), "a.webp"))
    np.testing.assert_allclose(picture.astype(int), smooth, atol=0 if "lossless" in options else 8)


def test_a_picture_that_is_too_large_is_told_with_a_remedy(tmp_path, recwarn):
    # Headers alone: a gigapixel needs no pixels to be told.
    assert image_size(saved(tmp_path, png(9_000, 19_000, 8, 0, []))) == (9_000, 19_000)
    assert not recwarn
    with pytest.raises(UserError, match=r"a\.png has more than 179 million pixels: cut it into tiles or scale it down"):
        image_size(saved(tmp_path, png(9_000, 20_000, 8, 0, [])))
