"""How many GPU jobs Snakemake starts on a machine, and what they are told; the GPUs are pretended."""

import re
from pathlib import Path

import pytest
from test_workflow import STUDY, make_project, snakemake

from softreg.running import gpu

#: Jobs that want a GPU, and write down what the environment says.
PROBES = """
rule probe:
    output: "probe-{number}"
    resources: gpu=STUDY.resources["gpu"]
    shell: "printenv SOFTREG_JOBS_PER_GPU > {output} || true"
"""


@pytest.mark.parametrize(
    ("devices", "arguments", "limit", "jobs"),
    [
        ("a,b,c,d", (), 4, "1"),
        ("a,b,c,d", ("--resources", "gpu=8"), 8, "2"),
        ("a", ("--resources", "gpu=3"), 3, "3"),
        ("", (), 1, "1"),
    ],
)
def test_jobs_at_a_time_and_on_each_gpu(tmp_path, monkeypatch, devices, arguments, limit, jobs):
    folder = probes(tmp_path, monkeypatch, devices, gpu=1)
    said = snakemake(folder, "--cores", "1", "probe-0", *arguments).stderr
    assert re.search(r"^Provided resources: .*?(\d+)", said, re.MULTILINE)[1] == str(limit)
    assert (folder / "probe-0").read_text() == f"{jobs}\n"


def test_a_machine_without_a_gpu_is_told_of_before_any_job(tmp_path, monkeypatch):
    if not gpu.absent():
        pytest.skip("this machine has the GPU that must be missing here")
    folder = make_project(tmp_path, resources={**STUDY["resources"], "gpu": 1})
    done = snakemake(folder, "--cores", "1", check=False)
    assert "config/tiny.yaml: resources.gpu is set, but this machine has no GPU" in done.stderr
    assert not (folder / "results").exists()


def test_a_study_without_gpus_has_nothing_to_share_out(tmp_path, monkeypatch):
    folder = probes(tmp_path, monkeypatch, "a,b", gpu=0)
    assert "Provided resources" not in snakemake(folder, "--cores", "1", "probe-0").stderr
    assert (folder / "probe-0").read_text() == ""


def test_a_cluster_is_left_to_its_scheduler(tmp_path, monkeypatch):
    folder = probes(tmp_path, monkeypatch, "a,b", gpu=1)
    with (folder / "Snakefile").open("a") as file:
        file.write('print("the limit:", workflow.global_resources.get("gpu").value)')
    planned = snakemake(folder, "-n", "--executor", "slurm", "--jobs", "100", "probe-0")
    assert "the limit: None" in planned.stdout + planned.stderr


def probes(folder: Path, monkeypatch, devices: str, gpu: int) -> Path:
    project = make_project(folder, resources={**STUDY["resources"], "gpu": gpu})
    with (project / "Snakefile").open("a") as file:
        file.write(PROBES)
    monkeypatch.setenv("SOFTREG_DEVICES", devices)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("SOFTREG_JOBS_PER_GPU", raising=False)
    return project
