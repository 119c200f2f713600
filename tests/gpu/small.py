"""What the tests on one GPU share: a small study, and a signal that comes in the middle of a training."""

from projects import TINY

from softreg.training.stopping import StopRequest

STUDY = {
    "datasets": {"shapes": {"images": 24, "size": [64, 64], "split": {"val": 0.25, "test": 0.25}}},
    "training": {**TINY["training"], "epochs": 2},
    "resources": {"gpu": 1},
}


class StopAfter(StopRequest):
    """Asks to stop after so many looks at its signal."""

    def __init__(self, looks):
        self.left = looks

    @property
    def signal(self):
        self.left -= 1
        return 15 if self.left < 0 else None
