"""What each fork of `programs` would work out again: digests of the code."""

from contextlib import suppress

from softreg.study.fingerprint import code_fingerprint

# They are kept with the time of their file: of one that is edited later, they are worked out again. Where this fails,
# forks are slower and say why themselves.
with suppress(Exception):
    code_fingerprint(
        "softreg.data.prepare",
        "softreg.data.datasets.shapes",
        "softreg.training.path",
        "softreg.networks.convnet",
        "softreg.penalties.l1",
        "softreg.scoring.evaluate",
        "softreg.scoring.race",
        "softreg.scoring.select",
        "softreg.scoring.gather",
    )
