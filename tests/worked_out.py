"""What each fork of `programs` would work out anew: digests of the code, and the script of the page."""

from softreg.paper.report import charts
from softreg.study.fingerprint import code_fingerprint

# Digests are kept with the time of their file: of a file that is edited later, they are worked out again.
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
charts.javascript()
