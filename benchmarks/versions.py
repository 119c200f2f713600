"""A study of 300 networks under Git and DVC: seconds, files and bytes to record, push and pull it.

The networks are real ones of convnet (88,416 weights), trained for one epoch on 16 × 16 images, as their number and
size is what counts. The store is a folder on the same disk. Then the clone is asked whether anything is left to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from common import CHECKOUT, SMOKE, measure, print_table, temporary_project

from softreg.study.config import load_study
from softreg.study.matrix import count_cells

STUDY = Path("config/many.yaml")
PENALTIES = ("l1", "l2", "soft", "elastic_net", "group_lasso", "berhu")
OPTIONS = {"elastic_net": "alpha: 0.5, ", "berhu": "delta: 0.02, "}
GRID = "[1e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3]"
PARTS = ("Snakefile", "dvc.yaml", ".dvc/config", ".dvc/.gitignore", ".dvc/plots", ".dvcignore", ".gitignore")


def write_project(folder: Path) -> None:
    """A copy of the project whose study has 300 cells."""
    for name in (*PARTS, "workflow", "profiles", "src"):
        source, target = CHECKOUT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    stages = (folder / "dvc.yaml").read_text(encoding="utf-8").replace("demo", "many").replace("-scenes", "-shapes")
    (folder / "dvc.yaml").write_text(stages, encoding="utf-8")
    (folder / STUDY).parent.mkdir()
    entries = "".join(f"  {name}: {{{OPTIONS.get(name, '')}lambda: {GRID}}}\n" for name in PENALTIES)
    (folder / STUDY).write_text(
        "datasets: {shapes: {images: 16, size: [16, 16], split: {val: 0.25, test: 0.25}}}\n"
        f"models: {{convnet: {{}}}}\npenalties:\n  none:\n{entries}"
        "training: {epochs: 1, batch_size: 4, optimizer: adam, lr: 1e-3}\n"
        "seeds: {tuning: [0, 1, 2, 3, 4], evaluation: [100, 101, 102, 103, 104, 105, 106, 107]}\n"
    )


def git(*arguments: str) -> None:
    who = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.org")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def size(folder: Path) -> tuple[str, str]:
    """Files below a folder, and their MB."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return str(len(files)), f"{sum(file.stat().st_size for file in files) / 1e6:.1f}"


def seconds(*command: str) -> str:
    return f"{measure(*command).seconds:.1f}"


def main() -> None:
    with temporary_project() as folder:
        project, other, store = folder / "project", folder / "other", folder / "softreg-store"
        write_project(project)
        os.chdir(project)
        cells = count_cells(load_study(STUDY))
        study = ("--config", f"study={STUDY}")
        git("init", "--quiet")
        if SMOKE:
            # What follows takes minutes however small the study is, and other tests do each step of it.
            print_table(["what", "s"], [["nothing made yet: snakemake -n", seconds("snakemake", "-n", *study)]])
            return
        rows = [[f"train {cells} cells, score and report", seconds("snakemake", "--cores", "2", *study)]]
        results = Path("results/many")
        rows[0] += size(results)
        rows.append(["no-op check: snakemake -n", seconds("snakemake", "-n", *study), "", ""])
        rows.append(["no-op run: snakemake", seconds("snakemake", "--cores", "2", *study), "", ""])
        rows.append(["dvc repro, which records it", seconds("dvc", "repro"), "", ""])
        rows.append(["dvc status", seconds("dvc", "status"), "", ""])
        git("add", "--all")
        git("commit", "--quiet", "--message", "Results")
        rows.append(["dvc push", seconds("dvc", "push"), *size(store)])
        rows.append(["dvc push with nothing new", seconds("dvc", "push"), "", ""])
        git("clone", "--quiet", str(project), str(other))
        os.chdir(other)
        rows.append(["dvc pull into a clone", seconds("dvc", "pull"), *size(results)])
        rows.append(["no-op check in the clone", seconds("snakemake", "-n", *study), "", ""])
        os.chdir(folder)
    print_table(["what", "s", "files", "MB"], rows)


if __name__ == "__main__":
    main()
