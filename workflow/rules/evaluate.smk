rule evaluate_path:
    input:
        path=f"{RESULTS}/{{phase}}/{{path}}/path.json",
        data=lambda wildcards: stages.description(STUDY, wildcards.path.split("/")[0]),
    output:
        f"{RESULTS}/{{phase}}/{{path}}/{{split}}.parquet",
    log:
        f"{LOGS}/evaluate/{{phase}}/{{path}}-{{split}}.log",
    threads: STUDY.resources["threads"]
    resources:
        gpu=STUDY.resources["gpu"],
        mem_mb=STUDY.resources["mem_mb"],
        runtime=STUDY.resources["runtime"],
    params:
        key=lambda wildcards: stages.scoring_key(STUDY, wildcards.path),
    shell:
        'softreg evaluate "$SOFTREG_STUDY" {wildcards.phase} {wildcards.path:q} {wildcards.split} 2> {log:q}'
