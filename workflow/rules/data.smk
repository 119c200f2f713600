rule fetch_archive:
    output:
        "data/raw/{kind}/{archive}",
    log:
        "logs/data/fetch/{kind}/{archive}.log",
    shell:
        'softreg fetch "$SOFTREG_STUDY" {wildcards.kind:q} {wildcards.archive:q} 2>&1 | tee {log:q}'


rule prepare_dataset:
    input:
        lambda wildcards: stages.archive_files(STUDY, wildcards.dataset),
    output:
        "data/prepared/{dataset}-{digest}/dataset.json",
    log:
        "logs/data/prepare/{dataset}-{digest}.log",
    wildcard_constraints:
        digest="[0-9a-f]{12}",
    threads: workflow.cores or 1
    resources:
        **stages.NO_GPU,
    params:
        code=lambda wildcards: stages.preparing_code(STUDY, wildcards.dataset),
        source=lambda wildcards: stages.source_state(STUDY, wildcards.dataset),
    shell:
        'softreg prepare "$SOFTREG_STUDY" {wildcards.dataset:q} 2>&1 | tee {log:q}'
