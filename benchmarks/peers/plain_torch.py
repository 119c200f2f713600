"""The loop that most would write: DataLoader, Adam with a cosine, cross entropy, mIoU after each epoch."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from common import Prepared, confusion, miou, network, options, report, to
from torch.utils.data import DataLoader


def main() -> None:
    given = options()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    train = DataLoader(Prepared(given.folder, "train", flip=True), given.batch, shuffle=True, drop_last=True)
    val = DataLoader(Prepared(given.folder, "val", flip=False), given.batch)
    device = "cuda" if given.gpus else "cpu"
    model = network(given).to(device)
    optimizer = torch.optim.Adam(model.parameters(), given.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, given.epochs * len(train))
    seconds = 0.0
    for _ in range(given.epochs):
        started = time.perf_counter()
        model.train()
        for images, masks in (to(device, batch) for batch in train):
            optimizer.zero_grad()
            F.cross_entropy(model(images), masks, ignore_index=255).backward()
            optimizer.step()
            schedule.step()
        seconds += time.perf_counter() - started
        model.eval()
        with torch.no_grad():
            counts = sum(
                confusion(model(images), masks, given.classes) for images, masks in (to(device, batch) for batch in val)
            )
    report(seconds, given.epochs * len(train) * given.batch, miou(counts))


if __name__ == "__main__":
    main()
