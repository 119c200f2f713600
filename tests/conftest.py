"""What all tests share."""

import os

# Small tensors on several threads wait for each other longer than they compute; set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
