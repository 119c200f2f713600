"""The same training as a LightningModule, as the examples of segmentation-models-pytorch have it; Lightning's defaults.

Its progress bar, logger and checkpoint are left on: they are what somebody gets who writes `Trainer(max_epochs=…)`.
"""

from __future__ import annotations

import time

import lightning
import torch
import torch.nn.functional as F
from common import Prepared, confusion, miou, network, options, report
from torch.utils.data import DataLoader


class Module(lightning.LightningModule):
    def __init__(self, given, steps: int) -> None:
        super().__init__()
        self.given, self.steps = given, steps
        self.model = network(given)
        self.counts, self.seconds = 0, 0.0

    def forward(self, images):
        return self.model(images)

    def training_step(self, batch):
        images, masks = batch
        loss = F.cross_entropy(self(images), masks, ignore_index=255)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch):
        images, masks = batch
        self.counts = self.counts + confusion(self(images), masks, self.given.classes)

    def on_validation_epoch_end(self):
        self.miou, self.counts = miou(self.counts), 0
        self.log("val_miou", self.miou, prog_bar=True)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), self.given.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self):
        self.started = time.perf_counter()

    def on_train_batch_end(self, *_):
        now = time.perf_counter()
        self.seconds += now - self.started
        self.started = now


def main() -> None:
    given = options()
    torch.set_num_threads(given.threads)
    lightning.seed_everything(0, verbose=False)
    train = DataLoader(Prepared(given.folder, "train", flip=True), given.batch, shuffle=True, drop_last=True)
    val = DataLoader(Prepared(given.folder, "val", flip=False), given.batch)
    module = Module(given, given.epochs * len(train))
    lightning.Trainer(max_epochs=given.epochs, accelerator="gpu" if given.gpus else "cpu").fit(module, train, val)
    report(module.seconds, given.epochs * len(train) * given.batch, module.miou)


if __name__ == "__main__":
    main()
