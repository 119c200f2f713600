"""Random streams that are functions of (seed, stream, position), so that there is no sampler state to save.

The same seed gives every penalty and every λ the same initial weights, data order, crops, augmentation and
dropout masks (common random numbers); a resumed run draws what the undisturbed one would have drawn.
"""

from __future__ import annotations

import hashlib

import torch


def stream_seed(seed: int, stream: str, *position: int) -> int:
    """A 63-bit seed for one place in one stream, independent of all others."""
    text = f"{seed}/{stream}/{'/'.join(map(str, position))}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, stream: str, *position: int) -> torch.Generator:
    """A fresh CPU generator for one place in one stream; CPU, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(stream_seed(seed, stream, *position))


def seed_global(seed: int, stream: str, *position: int) -> None:
    """Point torch's own generators, which initialisation and dropout draw from, at one place in one stream."""
    torch.manual_seed(stream_seed(seed, stream, *position))
