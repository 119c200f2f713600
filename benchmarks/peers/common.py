"""What the two peers share: the arrays that SoftReg prepared as a torch data set, the network, and mIoU.

No import from SoftReg: this is what somebody would write who has only torch and segmentation-models-pytorch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch.utils.data import Dataset


class Prepared(Dataset):
    """Images (3, H, W) float32 in 0…1 and masks (H, W) int64 of one split; half of them flipped where ``flip``."""

    def __init__(self, folder: Path, split: str, flip: bool) -> None:
        self.images = np.load(folder / split / "images.npy", mmap_mode="r")
        self.masks = np.load(folder / split / "masks.npy", mmap_mode="r")
        self.flip = flip

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int):
        image, mask = np.array(self.images[index]), np.array(self.masks[index])
        if self.flip and torch.rand(()) < 0.5:
            image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255, torch.from_numpy(mask).long()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="prepared data")
    parser.add_argument("--architecture")
    parser.add_argument("--encoder")
    parser.add_argument("--classes", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--gpus", type=int)
    return parser.parse_args()


def network(given: argparse.Namespace) -> torch.nn.Module:
    return smp.create_model(given.architecture, given.encoder, encoder_weights=None, classes=given.classes)


def to(device: str, batch: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.to(device) for tensor in batch]


def confusion(logits: torch.Tensor, masks: torch.Tensor, classes: int) -> torch.Tensor:
    """Counts (C, C) over valid pixels: row true class, column predicted."""
    valid = masks != 255
    return torch.bincount((masks * classes + logits.argmax(1))[valid], minlength=classes**2).view(classes, classes)


def miou(counts: torch.Tensor) -> float:
    hit = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hit
    return float((hit[union > 0] / union[union > 0]).mean())


def report(seconds: float, images: int, val_miou: float) -> None:
    print(json.dumps({"images_per_second": images / seconds, "val_miou": val_miou}))
