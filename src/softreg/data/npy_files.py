"""Images and masks in files of NumPy, ``.npy``: their shapes, and what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg.errors import UserError


def is_npy(path: Path) -> bool:
    """Whether a file is one of NumPy by its name."""
    return path.suffix.lower() == ".npy"


def load(path: Path) -> NDArray[Any]:
    """The array of a file, (H, W) or (H, W, 3), as a memory map. Raises UserError for any other, and for objects."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as an array of NumPy ({error})") from None
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or 0 in array.shape:
        raise UserError(f"{path} has the shape {array.shape}: accepted are (H, W), (H, W, 1) and (H, W, 3)")
    return array


def picture(path: Path) -> NDArray[np.uint8]:
    """The array of a file as colours, uint8 (H, W, 3). Raises UserError where it is not of uint8."""
    array = load(path)
    if array.dtype != np.uint8:
        raise UserError(f"{path} holds {array.dtype}: save it as uint8, or state its levels, `range`, such as [0, 1]")
    return np.array(array if array.ndim == 3 else np.dstack([array] * 3))
