"""Two jobs on one real GPU whose memory does not hold both: the one that ran out of memory is trained again alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from leases import DEADLINE, until
from projects import TINY, cell_folder, prepared_study, sweep_path

from softreg.files import read_json

pytestmark = pytest.mark.gpu

SOFTREG = Path(sys.executable).with_name("softreg")
STUDY = {
    "datasets": {"shapes": {"images": 24, "size": [512, 512], "split": {"val": 0.25, "test": 0.25}}},
    "models": {"convnet": {"kind": "smp", "architecture": "unet", "encoder": "resnet18"}},
    "training": {**TINY["training"], "epochs": 1},
    "resources": {"gpu": 1},
}
#: Takes all memory but 400 MB of a GPU that others may share, until its standard input is closed.
HOG = """
import sys
from softreg.running import gpu
with gpu.turn(1):
    import torch
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - 400 * 2**20, dtype=torch.uint8, device="cuda")
    print("full", flush=True)
    sys.stdin.read()
"""


#: A file of the user's that asks for a GPU at its top level, imported before the job is given one: none, here.
EARLY = """
import os, pathlib
pathlib.Path("own.py").write_text("import torch\\nclass Own: there = torch.cuda.is_available()")
from softreg.own.classes import load
there = load("own.py:Own", object).there
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
print(there, torch._C._cuda_getDeviceCount())
"""


def test_a_file_that_asks_for_a_gpu_as_it_is_imported_opens_none(tmp_path):
    done = subprocess.run([sys.executable, "-c", EARLY], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "True 0\n"


def test_a_full_gpu_is_left_and_taken_again_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = prepared_study(tmp_path, **STUDY)
    environment = {**os.environ, "SOFTREG_LEASES": str(tmp_path / "leases"), "SOFTREG_JOBS_PER_GPU": "2"}
    # Of several GPUs, the first: both meet there.
    environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    hog = subprocess.Popen([sys.executable, "-c", HOG], env=environment, text=True, **pipes)
    assert hog.stdout.readline() == "full\n"
    said = tmp_path / "said"
    with said.open("w") as file:
        command = [SOFTREG, "train", "tiny.yaml", "sweep", "shapes/convnet/l1/seed0"]
        job = subprocess.Popen(command, env=environment, stderr=file)
    until(lambda: "is empty" in said.read_text() or job.poll() is not None)
    hog.communicate(timeout=DEADLINE)
    assert job.wait(5 * DEADLINE) == 0
    assert "tries again alone" in said.read_text()
    for lambda_ in ("1e-4", "1e-2"):
        assert read_json(cell_folder(study, sweep_path(), lambda_) / "cell.json")["status"] == "finished"
