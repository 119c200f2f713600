rule train_path:
    input:
        unpack(
            lambda wildcards: stages.training_inputs(
                STUDY, wildcards.phase, wildcards.path
            )
        ),
    output:
        f"{RESULTS}/{{phase}}/{{path}}/path.json",
    log:
        f"{LOGS}/train/{{phase}}/{{path}}.log",
    priority: lambda wildcards: stages.seed_priority(STUDY, wildcards.phase, wildcards.path)
    threads: STUDY.resources["threads"]
    resources:
        **stages.job_resources(STUDY),
    params:
        key=lambda wildcards: stages.path_key(STUDY, wildcards.phase, wildcards.path),
    shell:
        'softreg train "$SOFTREG_STUDY" {wildcards.phase} {wildcards.path:q} 2> {log:q}'
