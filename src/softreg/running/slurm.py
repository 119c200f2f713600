"""Asking SLURM, before any work starts, whether it takes the jobs of a study. Imports no torch.

The engine learns of a refusal job by job and tries each again; and a job that asks for more time than its partition
gives is accepted by most sites, to wait for ever.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from softreg.errors import UserError

PROFILE = "profiles/slurm/config.yaml"

#: The option of sbatch that the engine's plugin makes of a resource, where it is one to one.
_OPTIONS = {
    "slurm_account": "account",
    "slurm_partition": "partition",
    "qos": "qos",
    "constraint": "constraint",
    "runtime": "time",
    "mem_mb": "mem",
    "cpus_per_task": "cpus-per-task",
    "gres": "gres",
}
#: Seconds: the plugin's looks at its jobs are up to 180 apart.
_LEAST_AGE = 183
_OTHERWISE = "or for another slurm_partition or qos in {profile}"
_LESS = f"ask for less in {{place}}, now {{asked}}, {_OTHERWISE}"
_SHORTER = f"ask for less runtime in {{place}}, now {{minutes}} minutes, {_OTHERWISE}"
_QUEUED = (
    "wait until fewer of your jobs are queued, and give jobs in {profile} no more than your site lets you queue, as "
    "`sacctmgr show qos` and `sacctmgr show associations user=$USER` list it"
)
#: What a refusal says, in lower case, and what to do; the first that fits counts, as one refusal may say several.
_REMEDIES = {
    "partition name|group not permitted|invalid partition": "give slurm_partition in {profile} one that `sinfo` lists",
    "submit|maxjobs": _QUEUED,
    "wall|time ?limit": _SHORTER,
    "(qos|assoc)(max|min|grp|group)": _LESS,
    "violates accounting/qos": _LESS,
    "account": "give slurm_account in {profile} one that `sacctmgr show associations user=$USER` lists",
    "qos": "give qos in {profile} one that `sacctmgr show qos` lists",
    "feature": "give constraint in {profile} a feature that `sinfo -o '%N %f'` lists",
    "gres specification": "name the GPU once in {profile}: gres with gpu: 0 under set-resources, or gpu_model",
    "node configuration|limit": _LESS,
}


def check_jobs(study: str, jobs: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Raise UserError for the first of ``jobs``, a rule's name and resources each, that SLURM would never run.

    Each distinct demand is submitted once, to begin in an hour, and cancelled. `sbatch --test-only` will not do: it
    refuses jobs for nodes that are down at the moment, which a submission takes. ``study`` is named in remedies.
    """
    if _run("sinfo", "--noheader").returncode:
        raise UserError("SLURM cannot be reached from here; run this on a login node, where `sinfo` answers")
    demands = {tuple(_submission(resources)): (rule, resources) for rule, resources in jobs}
    for _, resources in demands.values():
        _check_accounting(resources.get("slurm_account"))
    for options, (rule, resources) in demands.items():
        job = _submit(options, study, rule, resources)
        try:
            told = _run("squeue", "--noheader", f"--jobs={job}", "--format=%P %l")
        finally:
            _run("scancel", job)
        if len(told.stdout.split()) != 2:
            raise UserError(f"squeue does not answer ({told.stderr.strip() or 'nothing'}); try again in a moment")
        partition, limit = told.stdout.split()
        _check_partition(partition, _minutes(limit), study, rule, resources)


def _check_accounting(account: str | None) -> None:
    """What the engine's plugin cannot do without, and fails at with a traceback or by waiting for ever."""
    tool = "sacctmgr" if account else "sacct"
    if shutil.which(tool) is None:
        raise UserError(
            f"{tool} is not found here, and the SLURM plugin of Snakemake calls it, if in vain; ask your site for it, "
            f"or put an executable file of that name with the line #!/bin/sh on your PATH"
        )
    configuration = _run("scontrol", "show", "config").stdout
    if "accounting_storage/none" not in configuration:
        return
    if account:
        raise UserError(f"{PROFILE} gives slurm_account {account} and this cluster keeps no accounts; leave it out")
    age = re.search(r"MinJobAge *= *(\d+)", configuration)
    if age and int(age[1]) < _LEAST_AGE:
        raise UserError(
            f"this cluster keeps no accounts and forgets jobs {age[1]} seconds after their end, sooner than they are "
            f"asked for; ask your site to raise MinJobAge in slurm.conf to {_LEAST_AGE} or more (300 is usual)"
        )


def _submission(resources: Mapping[str, Any]) -> list[str]:
    """The options of sbatch for a job with these resources, as the engine's plugin gives them."""
    options = [f"--{option}={resources[name]}" for name, option in _OPTIONS.items() if resources.get(name)]
    if gpus := resources.get("gpu"):
        model = resources.get("gpu_model")
        options.append(f"--gpus={model}:{gpus}" if model else f"--gpus={gpus}")
    return [*options, *shlex.split(resources.get("slurm_extra") or "")]


def _submit(options: Iterable[str], study: str, rule: str, resources: Mapping[str, Any]) -> str:
    """The number of a job that was submitted with these options, to begin in an hour."""
    name = ("--job-name=softreg-check", "--output=/dev/null", "--wrap=true")
    done = _run("sbatch", "--parsable", "--begin=now+1hour", "--ntasks=1", *options, *name)
    if done.returncode == 0:
        return done.stdout.split(";")[0].strip()
    said = "; ".join(
        re.sub(r"^sbatch: (error: )?(Batch job submission failed: )?", "", line) for line in done.stderr.splitlines()
    )
    raise UserError(f"SLURM refuses the jobs of rule {rule}: {said}; {_remedy(said, study, rule, resources)}")


def _remedy(said: str, study: str, rule: str, resources: Mapping[str, Any]) -> str:
    # The policy's own text names submissions and time among what it may be about.
    reason = re.sub(r"\(job submit limit.*?\)", "", said.lower())
    remedy = next((remedy for sign, remedy in _REMEDIES.items() if re.search(sign, reason)), "see docs/slurm.md")
    minutes = resources.get("runtime")
    asked = f"{resources.get('cpus_per_task', 1)} CPUs, {resources.get('mem_mb')} MB, {resources.get('gpu') or 0} GPUs"
    asked += f", {minutes} minutes"
    return remedy.format(place=_place(study, rule), profile=PROFILE, minutes=minutes, asked=asked)


def _place(study: str, rule: str) -> str:
    """Where the resources of a rule are set."""
    return f"{PROFILE}, set-resources" if rule == "prepare_dataset" else f"{study}, resources"


def _check_partition(partition: str, minutes: float, study: str, rule: str, resources: Mapping[str, Any]) -> None:
    """Of what a job can be queued for all the same, unless the site's EnforcePartLimits forbids it."""
    nodes = _run("sinfo", "--noheader", "--Node", f"--partition={partition}", "--format=%l %c").stdout.splitlines()
    if not nodes:  # hidden from this user
        return
    limits, cpus = zip(*(node.split() for node in nodes), strict=True)
    asked = [
        ("runtime", minutes, max(map(_minutes, limits)), "minutes"),
        ("threads", resources.get("cpus_per_task") or 1, max(map(int, cpus)), "processors a node"),
    ]
    for key, wanted, most, unit in asked:
        if wanted > most:
            raise UserError(
                f"{_place(study, rule)}.{key} is {wanted:g} and partition {partition} has {most:g} {unit}, so that "
                f"the jobs of rule {rule} would wait for ever; give less, or another slurm_partition in {PROFILE}"
            )


def _minutes(time: str) -> float:
    """Minutes of a time as SLURM writes it: [days-][hours:]minutes:seconds, or infinite."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", time)
    if match is None:
        return float("inf")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes + seconds / 60


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not found here; run this on a machine that submits to the cluster") from None
