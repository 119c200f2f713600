"""What ``softreg new`` writes: whole files that pass ``softreg check``, with ``Template`` for the name of the class."""
