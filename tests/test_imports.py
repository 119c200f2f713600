"""What a command does not need, it does not load: a study is a thousand processes, and each pays for its imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from projects import cell_folder, prepared_study, sweep_path

#: Of torch, for compiling and exporting networks; and what only some networks or some questions take.
COMPILER = {"torch._dynamo", "torch._inductor", "torch.onnx", "sympy"}
NETWORKS = {"torchvision", "segmentation_models_pytorch", "timm"}
STATISTICS = {"scipy"}


def loads(*arguments: str) -> set[str]:
    """Which of the above `softreg` commands load, ``+`` between them, which must succeed."""
    program = (
        "import sys\n"
        "from softreg.cli import main\n"
        "for command in ' '.join(sys.argv[2:]).split(' + '):\n"
        "    assert main(command.split()) == 0\n"
        "print(*(name for name in sys.argv[1].split() if name in sys.modules), file=sys.stderr)\n"
    )
    watched = " ".join({"torch", "pandas"} | COMPILER | NETWORKS | STATISTICS)
    done = subprocess.run([sys.executable, "-c", program, watched, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study with its data, in the working folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        yield prepared_study(Path(), training={"epochs": 1, "batch_size": 4, "optimizer": "adam"})


def test_checking_loads_what_tells_what_a_study_can_decide(study):
    assert loads("check", str(study.file)) == {"pandas", "scipy"}


@pytest.mark.slow
def test_training_scoring_and_selecting_load_what_they_use(study):
    path = sweep_path()
    # Writing its tables, pyarrow loads pandas where that is installed.
    assert loads("train", str(study.file), "sweep", path.name) == {"torch", "pandas"}
    assert cell_folder(study, path, "1e-4").joinpath("weights.safetensors").is_file()
    assert loads("train", str(study.file), "sweep", path.name) == set()
    assert loads("select", str(study.file), f"{path.dataset}/{path.model}/{path.penalty}") <= {"pandas"}
    reveal = ("reveal", str(study.file), f"{path.dataset}/{path.model}/{path.penalty}")
    finals = [f"{path.dataset}/{path.model}/{path.penalty}/seed{seed}" for seed in study.seeds["evaluation"]]
    assert loads(*reveal, "+", "train", str(study.file), "final", *finals) <= {"torch", "pandas"}


@pytest.mark.slow
def test_no_optimiser_and_no_corruption_leads_to_the_compiler_which_is_told_to_be_deterministic_too():
    program = (
        "import sys, torch\n"
        "from softreg.scoring.corruptions import LEVELS, corrupt\n"
        "from softreg.training.optim import make_optimizer\n"
        "for name in ('sgd', 'adam'):\n"
        "    rules = {'optimizer': name, 'lr': 0.1, 'momentum': 0.9, 'betas': [0.9, 0.999]}\n"
        "    weight = torch.nn.Parameter(torch.ones(3))\n"
        "    optimizer = make_optimizer([weight], rules)\n"
        "    optimizer.zero_grad()\n"
        "    weight.grad = torch.ones(3)\n"
        "    optimizer.step()\n"
        "    optimizer.load_state_dict(optimizer.state_dict())\n"
        "for kind in LEVELS:\n"
        "    corrupt(torch.rand(1, 3, 20, 20), kind, 1, 0)\n"
        "print(*sys.modules)\n"
        # A network may compile itself all the same.
        "from softreg.training.device import open_device\n"
        "open_device(0, threads=1)\n"
        "assert torch.get_deterministic_debug_mode() == 2\n"
        "import torch._inductor.config\n"
        "assert torch._inductor.config.deterministic\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (COMPILER | NETWORKS | STATISTICS)
