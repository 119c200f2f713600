# Trains what is missing of a path, or of the next paths of its group too (`seeds_per_job`), and scores it.
rule train_paths:
    input:
        before_training,
    output:
        f"{RESULTS}/{{phase}}/{{path}}/made-{{key}}",
    log:
        f"{LOGS}/train/{{phase}}/{{path}}-{{key}}.log",
    benchmark:
        f"{LOGS}/train/{{phase}}/{{path}}-{{key}}.tsv"
    priority: lambda wildcards: stages.seed_priority(STUDY, path_of(wildcards))
    threads: STUDY.resources["threads"]
    resources:
        **stages.job_resources(STUDY),
    params:
        paths=lambda wildcards: [
            path.name for path in GRAPH.batches[path_of(wildcards)]
        ],
    shell:
        'softreg train "$SOFTREG_STUDY" {wildcards.phase} {params.paths:q} --key {wildcards.key} 2> {log:q}'
