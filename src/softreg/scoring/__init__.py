"""Scores: stored weights to counts for each image, λ̂ from validation alone, and everything gathered in one folder.

`evaluate` runs networks; a corruption is added in `corruptions`. `records` keeps counts, and a metric is a function of
them in `metrics`: all but `evaluate`, `boundary` and `corruptions` does without torch. `origin` says which networks
records were made from, `select` chooses λ̂, `gather` refuses to mix. Imports `softreg.training` and below.
"""
