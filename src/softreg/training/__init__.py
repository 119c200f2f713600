"""Training: the cells of a path one after another, each to its one status, and resumed to the same bits.

Start at `path` (what is made once for a path), then `cell` (the steps). A rule of the update is in `optim`, a data term
in `objectives`, a diagnostic of layers in `diagnostics`. Imports `softreg.networks` and below; never a score of test.
"""
