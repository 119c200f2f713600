"""A user's own penalty, model or data set: the class that a study names as ``kind: FILE.py:CLASS`` or ``MODULE:CLASS``.

Start with :mod:`softreg.own.classes`, which imports the class and reads off it which options it takes.
:mod:`softreg.own.sources` finds its file, and what that imports, for the code fingerprint. Here nothing is known of
penalties, models or data sets but what each is called and what its class inherits from: this package imports
``softreg.errors`` and ``softreg.files`` of SoftReg at most.
"""
