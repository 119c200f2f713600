"""Contracts: what a penalty, a model or a data set must keep to, checked by running it.

They hold SoftReg's own kinds as well as a user's file, and say of each rule by how much it is kept or missed. `check`
is ``softreg check FILE.py``, `new` writes a first file from `templates`. Imports networks, penalties, data and below.
"""
