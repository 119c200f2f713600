"""What SoftReg says of the refusals of SLURM, whose texts are those of slurm_errno.c and of the reasons of jobs.

Its commands are stood in for by scripts; tests/slurm has the real ones, and no accounting.
"""

from pathlib import Path

import pytest

from softreg.errors import UserError
from softreg.running.slurm import check_jobs

POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
PROFILE = "profiles/slurm/config.yaml"
LESS = f"ask for less in study.yaml, resources, now 2 CPUs, 4000 MB, 1 GPUs, 90 minutes, or for another .* in {PROFILE}"
QUEUED = f"wait until fewer of your jobs are queued, and give jobs in {PROFILE} no more than your site lets you queue"
SHORTER = "ask for less runtime in study.yaml, resources, now 90 minutes, or for another slurm_partition or qos in "


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (["QOSMaxSubmitJobPerUserLimit", POLICY], QUEUED),
        (["AssocMaxSubmitJobLimit", POLICY], QUEUED),
        (["QOSGrpSubmitJobsLimit", POLICY], QUEUED),
        (["AssocMaxJobsLimit", POLICY], QUEUED),
        (["QOSMaxWallDurationPerJobLimit", POLICY], SHORTER),
        (["Requested time limit is invalid (missing or exceeds some limit)"], SHORTER),
        (["QOSMaxCpuPerUserLimit", POLICY], LESS),
        (["AssocGrpGRES", POLICY], LESS),
        (["QOSMinGRES", POLICY], LESS),
        ([POLICY], LESS),
        (["Invalid account or account/partition combination specified"], f"give slurm_account in {PROFILE} one that"),
        (["Invalid qos specification"], f"give qos in {PROFILE} one that `sacctmgr show qos` lists"),
        (["User's group not permitted to use this partition"], f"give slurm_partition in {PROFILE} one that `sinfo`"),
        (["Requested node configuration is not available"], LESS),
        (["Something that nobody foresaw"], "see docs/slurm.md"),
    ],
)
def test_a_refusal_names_what_to_set(said, remedy, tmp_path, monkeypatch):
    *reasons, last = said
    lines = [f'echo "sbatch: error: {text}" >&2' for text in [*reasons, f"Batch job submission failed: {last}"]]
    for name, script in {"sbatch": "; ".join([*lines, "exit 1"]), "sinfo": "", "sacct": "", "scontrol": ""}.items():
        tool = Path(tmp_path, name)
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    resources = {"cpus_per_task": 2, "mem_mb": 4000, "gpu": 1, "runtime": 90}
    with pytest.raises(UserError, match=rf"^SLURM refuses the jobs of rule train_paths: .*; {remedy}") as caught:
        check_jobs("study.yaml", [("train_paths", resources)])
    assert all(text in str(caught.value) for text in said)
