"""How large are trained weights beside the β of smooth L1 or the δ of berHu?

For the unpenalised networks of a finished study, the median of |w| over the weights of convolutions and linear layers,
the largest |w|, and the share above each β; the range is over the networks. Nothing is timed.

    python benchmarks/weight_sizes.py results/demo
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import SMOKE, print_table
from safetensors.numpy import load_file, save_file

BETAS = (0.5, 0.1, 0.05, 0.03, 0.02, 0.01)


def sizes(folder: Path) -> np.ndarray:
    """|w| of all layers of one network."""
    stored = load_file(folder / "weights.safetensors")
    layers = pd.read_csv(folder / "layers.csv")["layer"]
    return np.abs(np.concatenate([stored[f"network.{layer}.weight"].ravel() for layer in layers]))


def make_up(results: Path) -> Path:
    """One layer of one network, as a finished study has them."""
    folder = results / "sweep" / "shapes" / "convnet" / "none" / "seed0" / "lambda-0"
    folder.mkdir(parents=True)
    save_file({"network.first.weight": np.linspace(-0.1, 0.1, 9, dtype=np.float32)}, folder / "weights.safetensors")
    (folder / "layers.csv").write_text("layer\nfirst\n")
    return results


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="softreg-benchmark-") as folder:
        tell(make_up(Path(folder)) if SMOKE else Path(sys.argv[1]))


def tell(results: Path) -> None:
    folders = sorted({file.parent for file in results.glob("*/*/*/none/seed*/lambda-0/weights.safetensors")})
    networks = [sizes(folder) for folder in folders]
    rows = [["median |w|", *ends([np.median(size) for size in networks], "{:.3f}")]]
    rows.append(["largest |w|", *ends([size.max() for size in networks], "{:.2f}")])
    for beta in BETAS:
        rows.append([f"|w| > {beta}", *ends([100 * (size > beta).mean() for size in networks], "{:.1f} %")])
    print_table([f"of {len(networks)} networks", "lowest", "highest"], rows)


def ends(values: list[float], form: str) -> list[str]:
    """The lowest and the highest."""
    return [form.format(min(values)), form.format(max(values))]


if __name__ == "__main__":
    main()
