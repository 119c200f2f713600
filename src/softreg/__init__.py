"""SoftReg: a reproducible benchmark of weight regularisation for image segmentation.

Dependencies point one way: ``cli`` → stages → (penalties, models, datasets, metrics) → ``config``.
Nothing here imports Snakemake: every stage also runs by hand through the ``softreg`` command.
"""

__version__ = "0.1.0"
