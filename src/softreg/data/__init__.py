"""Data sets: fetched, verified, split and prepared as arrays. No torch.

A data set is one file in `datasets`; `base` is what it subclasses, and `prepare` does the rest. `archives` reads zips
and tars safely, `sources` tells by content whether a user's own files have changed. Imports `softreg.study` and below.
"""
