"""Reading images and masks from files. What would be lost or changed unsaid is refused: pages, channels, bits, values.

The file is asked, not Pillow's mode, which hides all four: Pillow shows the first page of many, cuts 16 bits of a
colour to 8, and scales a mask of 2 or 4 bits up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base

from softreg.errors import UserError

Array = NDArray[np.uint8]

#: The formats whose bits, channels and pages can be told. MPO is a JPEG photograph that its camera added previews to.
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "TIFF", "GIF", "WEBP")
#: Those that keep each value, if a TIFF is not packed as one of the others; WebP may.
_EXACT = ("PNG", "BMP", "GIF", "TIFF")
_CHANGING = ("jpeg", "tiff_jpeg", "webp")
_TRANSPARENCY = (1, 2)  # what TIFF's tag ExtraSamples says of a channel of it


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file of one page, with every way of failing to read it turned into a :class:`UserError`."""
    try:
        # Of a file that is opened by its name, Pillow maps the bytes, and garbles a TIFF that is turned by a quarter.
        with path.open("rb") as file, Image.open(file) as image:
            _check_whole(image, path)
            yield image
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} cannot be read as an image: its format, channels or bits are unknown") from None
    # Pillow raises SyntaxError and ValueError for some broken files, and its bomb error derives from
    # Exception.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error})") from None


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) in pixels of the upright picture, from the file's header alone."""
    with opened(path) as image:
        return _size(image)


def mask_size(path: Path) -> tuple[int, int]:
    """As `image_size`, of a mask. Raises :class:`UserError` for a format that does not keep each value."""
    with opened(path) as image:
        _check_exact(image, path)
        return _size(image)


def read_image(path: Path) -> Array:
    """An image file as uint8 (H, W, 3), upright: grey levels are replicated, transparency is dropped.

    Raises :class:`UserError` for more than 8 bits a channel, which a conversion would cut or clip rather than scale.
    """
    with opened(path) as image:
        return _converted(image, path, "RGB")


def read_white(path: Path) -> Array:
    """Where an image file is nearer to white than to black, uint8 (H, W) of 0 and 1: a mask that was painted."""
    with opened(path) as image:
        return (_converted(image, path, "L") >= 128).astype(np.uint8)


def read_colours(path: Path) -> Array:
    """The colours of a mask that was painted, uint8 (H, W, 3); those of its palette where it has one.

    Raises :class:`UserError` as `read_image` does, and for a format that does not keep each value.
    """
    with opened(path) as image:
        _check_exact(image, path)
        return _converted(image, path, "RGB")


def read_values(path: Path) -> NDArray[np.integer[Any]]:
    """The stored values of a one-channel mask file (H, W): indices, not colours, where the file has a
    palette.

    Raises :class:`UserError` where the file has several channels, or a format that does not keep each value.
    """
    with opened(path) as image:
        _check_exact(image, path)
        values, bits = np.array(ImageOps.exif_transpose(image)), _bits(image, path)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise UserError(f"{path} is not a mask of class indices: it has mode {image.mode}, not one integer channel")
    if image.mode == "L" and bits in (2, 4):
        return values // (255 // (2**bits - 1))  # type: ignore[no-any-return]
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _size(image: Image.Image) -> tuple[int, int]:
    # Pillow tells the upright size of a TIFF, and the stored one of all others. The method of a PNG would read all
    # pixels to find an orientation behind them.
    turned = image.format != "TIFF" and Image.Image.getexif(image).get(Base.Orientation) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def _converted(image: Image.Image, path: Path, mode: str) -> Array:
    """The upright picture in a mode of 8 bits a channel."""
    if (bits := _bits(image, path)) > 8:
        raise UserError(f"{path} has more than 8 bits a channel ({bits}): convert it to 8 bits")
    return np.array(ImageOps.exif_transpose(image).convert(mode))


def _check_whole(image: Image.Image, path: Path) -> None:
    """Raise :class:`UserError` where the file holds more than one picture, or a channel that is no colour."""
    if image.format not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise UserError(f"{path} has the format {image.format}: accepted are {known}; convert it to PNG")
    if (pages := _pages(image)) > 1:
        raise UserError(f"{path} holds {pages} pages or frames, of which one can be used: save each to its own file")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        samples = image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
        told = sum(kind in _TRANSPARENCY for kind in image.tag_v2.get(TiffImagePlugin.EXTRASAMPLES, ()))
        colours = len(image.getbands()) - image.mode.endswith(("A", "a"))
        if samples > colours + told:
            raise UserError(
                f"{path} has {samples} channels, of which {colours} can be used: save the image's {colours} alone"
            )


def _pages(image: Image.Image) -> int:
    """How many pages or frames there are to choose from; the first picture of an MPO is the photograph."""
    try:
        return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except Exception as error:  # Of a file that is cut, Pillow raises what it meets: TypeError, IndexError, EOFError.
        raise OSError(f"its pages cannot be counted: {error}") from error


def _check_exact(image: Image.Image, path: Path) -> None:
    if image.format not in _EXACT or image.info.get("compression") in _CHANGING:
        raise UserError(
            f"{path} is a mask in {image.format} with lossy or unknown compression, which may change values: save "
            "masks as PNG, with each pixel's class as it was painted"
        )


def _bits(image: Image.Image, path: Path) -> int:
    """The bits of a channel as the file stores them."""
    if image.format == "PNG":
        with path.open("rb") as file:
            # After the signature, and the length, the name, the width and the height of the first chunk.
            return file.read(25)[24]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    return 8
