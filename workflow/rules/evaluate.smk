rule evaluate_sweep:
    input:
        path=f"{RESULTS}/sweep/{{path}}/path.json",
        data=lambda wildcards: stages.description(STUDY, wildcards.path.split("/")[0]),
    output:
        f"{RESULTS}/sweep/{{path}}/val.parquet",
    log:
        f"{LOGS}/evaluate/sweep/{{path}}.log",
    priority: stages.SCORING_PRIORITY
    threads: STUDY.resources["threads"]
    resources:
        **stages.job_resources(STUDY),
    params:
        phase="sweep",
        key=lambda wildcards: stages.scoring_key(STUDY, "sweep", wildcards.path),
    shell:
        'softreg evaluate "$SOFTREG_STUDY" {params.phase} {wildcards.path:q} 2> {log:q}'


use rule evaluate_sweep as evaluate_final with:
    input:
        path=f"{RESULTS}/final/{{path}}/path.json",
        data=lambda wildcards: stages.description(STUDY, wildcards.path.split("/")[0]),
    output:
        multiext(
            f"{RESULTS}/final/{{path}}/", "val.parquet", "test.parquet", "sums.parquet"
        ),
    log:
        f"{LOGS}/evaluate/final/{{path}}.log",
    params:
        phase="final",
        key=lambda wildcards: stages.scoring_key(STUDY, "final", wildcards.path),


# The sweep on test, for what is told of it: only once λ̂ stands, and read by no rule that selects.
rule reveal_sweep:
    input:
        paths=lambda wildcards: stages.group_paths(
            STUDY, wildcards.dataset, wildcards.model, wildcards.penalty
        ),
        selection=f"{stages.selection_stem(STUDY)}{{dataset}}/{{model}}/{{penalty}}.csv",
    output:
        f"{RESULTS}/sweep/{{dataset}}/{{model}}/{{penalty}}/sums.parquet",
    log:
        f"{LOGS}/reveal/{{dataset}}/{{model}}/{{penalty}}.log",
    threads: STUDY.resources["threads"]
    resources:
        **stages.job_resources(STUDY),
    params:
        key=lambda wildcards: stages.revealing_key(
            STUDY, wildcards.dataset, wildcards.model, wildcards.penalty
        ),
    shell:
        'softreg reveal "$SOFTREG_STUDY" {wildcards.dataset:q}/{wildcards.model:q}/{wildcards.penalty:q} 2> {log:q}'
