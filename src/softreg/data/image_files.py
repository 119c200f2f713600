"""Reading images and masks from files. What would be lost or changed unsaid is refused: pages, channels, bits, values.

The file is asked, not Pillow's mode, which hides all four: Pillow shows the first page of many, cuts 16 bits of a
colour to 8, and scales a mask of 2 or 4 bits up.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base

from softreg.data import npy_files
from softreg.errors import UserError

Array = NDArray[np.uint8]

#: The formats whose bits, channels and pages can be told. MPO is a JPEG photograph that its camera added previews to.
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "TIFF", "GIF", "WEBP")
#: Those that keep each value, if a TIFF is not packed as one of the others; WebP may.
_EXACT = ("PNG", "BMP", "GIF", "TIFF")
_CHANGING = ("jpeg", "tiff_jpeg", "webp")
#: Pillow's modes of one channel that is no index of a palette.
_GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L", "F")
_TRANSPARENCY = (1, 2)  # what TIFF's tag ExtraSamples says of a channel of it


@contextmanager
def opened(path: Path, exact: bool = False) -> Iterator[Image.Image]:
    """An image file of one page, with every way of failing to read it turned into a :class:`UserError`.

    If ``exact``, as for a mask, a format that may change values is refused too.
    """
    try:
        # Of a file that is opened by its name, Pillow maps the bytes, and garbles a TIFF that is turned by a quarter.
        with path.open("rb") as file, _open(file) as image:
            _check_whole(image, path)
            if exact:
                _check_exact(image, path)
            yield image
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} cannot be read as an image: its format, channels or bits are unknown") from None
    except Image.DecompressionBombError:
        bound = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UserError(
            f"{path} has more than {bound:.0f} million pixels: cut it into tiles or scale it down"
        ) from None
    # Pillow raises SyntaxError and ValueError for some broken files.
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an image ({error})") from None


def _open(file: IO[bytes]) -> Image.Image:
    with warnings.catch_warnings():
        # Up to twice its bound on pixels, Pillow only warns.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file)


def image_size(path: Path, exact: bool = False) -> tuple[int, int]:
    """(H, W) in pixels of the upright picture, from the file's header alone; ``exact`` as `opened` takes it."""
    if npy_files.is_npy(path):
        height, width = npy_files.load(path).shape[:2]
        return height, width
    with opened(path, exact) as image:
        # Pillow gives the upright size of a TIFF, and the stored one of all others. The method of a PNG would read all
        # pixels to find an orientation behind them.
        turned = image.format != "TIFF" and Image.Image.getexif(image).get(Base.Orientation) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def read_image(path: Path, levels: Sequence[float] | None = None) -> Array:
    """An image file as uint8 (H, W, 3), upright: grey levels are replicated, transparency is dropped.

    ``levels`` are the stored values (low, high) that become 0 and 255; what lies beyond them is cut off. Raises
    :class:`UserError` for more than 8 bits a channel without them, which would be cut or clipped rather than scaled.
    """
    return read_colours(path, exact=False) if levels is None else _scaled(_stored(path, _GREY), levels, path)


def read_white(path: Path) -> Array:
    """Where an image file is nearer to white than to black, uint8 (H, W) of 0 and 1: a mask that was painted."""
    with opened(path) as image:
        return (_converted(image, path, "L") >= 128).astype(np.uint8)


def read_colours(path: Path, exact: bool = True) -> Array:
    """The colours of a mask that was painted, uint8 (H, W, 3); those of its palette where it has one.

    Raises :class:`UserError` as `read_image` does and, if ``exact``, for a format that does not keep each value.
    """
    if npy_files.is_npy(path):
        return npy_files.picture(path)
    with opened(path, exact) as image:
        return _converted(image, path, "RGB")


def read_values(path: Path) -> NDArray[np.integer[Any]]:
    """The stored values of a one-channel mask file (H, W): indices, not colours, where the file has a palette.

    Of a GIF, which has no grey levels but in its palette, the grey levels. Raises :class:`UserError` where the file has
    several channels, or a format that does not keep each value.
    """
    values = _stored(path, (*_GREY, "P"), exact=True)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise UserError(f"{path} is not a mask of class indices: it holds {values.dtype}, {values.ndim} dimensions")
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _stored(path: Path, modes: Sequence[str], exact: bool = False) -> NDArray[Any]:
    """The values of an upright file as they are stored, (H, W), or (H, W, 3) of an array of NumPy.

    Raises :class:`UserError` for another than Pillow's ``modes``; if ``exact``, for a format that may change values.
    """
    if npy_files.is_npy(path):
        return npy_files.load(path)
    with opened(path, exact) as image:
        if image.mode not in modes:
            what = "mask of class indices" if exact else "grey image, which alone `range` is for"
            raise UserError(f"{path} is not a {what}: it has mode {image.mode}, not one channel")
        upright, bits = ImageOps.exif_transpose(image), _bits(image, path)
        if (image.format, image.mode) == ("GIF", "P"):
            return _greys(upright, path)
        values = np.array(upright)
    # Pillow scales them up.
    return values // (255 // (2**bits - 1)) if image.mode == "L" and bits in (2, 4) else values


def _greys(image: Image.Image, path: Path) -> Array:
    """The grey levels (H, W) of a GIF; its indices are numbered as the program pleases that wrote it."""
    palette = np.zeros((256, 3), np.uint8)
    stated = np.reshape(image.getpalette() or [], (-1, 3))
    palette[: len(stated)] = stated
    colours: Array = palette[np.array(image)]
    if (colours != colours[..., :1]).any():
        raise UserError(
            f"{path} is a GIF of colours, whose indices are not to be relied on: give each class its colour by "
            "`palette`, or save the mask as PNG"
        )
    return colours[..., 0]


def _scaled(values: NDArray[Any], levels: Sequence[float], path: Path) -> Array:
    """Stored values (H, W) or (H, W, 3) as uint8 (H, W, 3), 0 at ``levels[0]`` and 255 at ``levels[1]``."""
    if values.dtype.kind not in "buif":
        raise UserError(f"{path} holds {values.dtype}: save it as numbers")
    low, high = levels
    shares = (values.astype(np.float64) - low) / (high - low)
    if np.isnan(shares).any():
        raise UserError(f"{path} holds a value that is no number (NaN): give it one")
    scaled = np.floor(255 * np.clip(shares, 0, 1) + 0.5).astype(np.uint8)
    return scaled if scaled.ndim == 3 else np.dstack([scaled] * 3)


def _converted(image: Image.Image, path: Path, mode: str) -> Array:
    """The upright picture in a mode of 8 bits a channel."""
    if (bits := _bits(image, path)) > 8:
        raise UserError(
            f"{path} has more than 8 bits a channel ({bits}): convert it to 8 bits, or state its grey levels, "
            "`range`, such as [0, 4095]"
        )
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
