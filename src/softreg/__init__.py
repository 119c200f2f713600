"""SoftReg: a reproducible benchmark of weight regularisation for image segmentation.

Packages depend on those below them only, in this order: ``cli``; ``running`` and ``contract``; ``paper``; ``scoring``;
``training``; ``networks``; ``penalties``; ``data``; ``study``; ``own``; ``files`` and ``errors``. ``make lint`` holds
them to it. Nothing here imports Snakemake: every stage also runs by hand through the ``softreg`` command.
"""

__version__ = "0.1.0"
