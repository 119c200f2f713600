# One study, from its archives to its report: snakemake [target] --config study=config/NAME.yaml
# Targets: all (the default), data, sweep, scores, paper (never trains), partial (whatever has finished), pack (for DVC).

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from softreg.errors import UserError
from softreg.running import forecast, gpu, slurm, stages
from softreg.running.plan import allowed
from softreg.study import matrix
from softreg.study.config import load_study

min_version("9.27")


# For `--sdm apptainer`, where an image was built from softreg.def; ignored otherwise.
container: "softreg.sif"


if unknown := set(config) - {"study"}:
    raise WorkflowError(f"--config {min(unknown)}: unknown; give study=FILE")

try:
    STUDY = load_study(Path(config.get("study", "config/demo.yaml")))
except UserError as error:
    raise WorkflowError(str(error)) from None

stages.set_environment(STUDY)

# A cluster's scheduler shares out its GPUs; there, a number of jobs is given.
GPU_JOBS = None
if STUDY.resources["gpu"] and workflow.nodes is None:
    GPU_JOBS = gpu.share_out(workflow.global_resources.get("gpu").value)
    workflow.register_resource("gpu", GPU_JOBS)

if waiting := stages.waiting_packs(STUDY):
    logger.warning(waiting)


RESULTS = stages.results_folder(STUDY).as_posix()
LOGS = f"logs/{STUDY.name}"
SCORES = multiext(
    f"{RESULTS}/scores/",
    "sweep-val.parquet",
    "final-val.parquet",
    "final-test.parquet",
    "cells.parquet",
    "sums.parquet",
    "layers.parquet",
    "histories.parquet",
    "images.parquet",
    "examples.parquet",
    "timings.csv",
    "selection.csv",
    "datasets.json",
    "study.json",
    "provenance.json",
)


wildcard_constraints:
    phase="sweep|final",
    path=r"[^/]+/[^/]+/[^/]+/seed\d+(-fold\d+)?",


# What may be asked for while a study's networks wait in packs: of all else, Snakemake cannot tell what is current.
NEED_NO_NETWORKS = {"data", "paper", "partial", f"{RESULTS}/report.html"}


# Only now are targets and jobs known. Not run by the jobs that a cluster starts, which read this file again.
onstart:
    jobs = list(workflow.dag.needrun_jobs())
    targets = set(workflow.dag_settings.targets)
    trains = any(job.rule.name == "train_path" for job in jobs)
    if waiting and (trains or not targets or targets - NEED_NO_NETWORKS):
        raise WorkflowError(waiting)
    if workflow.executor_plugin.name == "slurm":
        asked = [(job.rule.name, job.resources) for job in jobs if not job.is_local]
        try:
            slurm.check_jobs(str(STUDY.file), asked)
        except UserError as error:
            raise WorkflowError(str(error)) from None
    here = workflow.executor_plugin.common_settings.local_exec
    if trains and here and STUDY.resources["gpu"] and gpu.absent():
        raise WorkflowError(
            f"{STUDY.file}: resources.gpu is set, but this machine has no GPU; set it to 0 to train on the CPU"
        )
    if trains:
        at_once = (
            allowed(STUDY, workflow.cores, GPU_JOBS) if here else workflow.nodes
        )
        forecast.announce(STUDY, at_once)


localrules:
    all,
    data,
    sweep,
    scores,
    paper,
    partial,
    fetch_archive,
    select_lambda,
    list_selection,
    gather_scores,
    write_paper,
    pack,


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",


rule data:
    input:
        [stages.description(STUDY, dataset) for dataset in STUDY.datasets],


rule sweep:
    input:
        [
            f"{RESULTS}/sweep/{path.name}/val.parquet"
            for path in matrix.sweep_paths(STUDY)
        ],


rule scores:
    input:
        SCORES,


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/select.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/pack.smk"
