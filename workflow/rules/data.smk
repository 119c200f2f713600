rule fetch_archive:
    output:
        "data/raw/{kind}/{archive}",
    log:
        "logs/data/fetch/{kind}/{archive}.log",
    shell:
        'softreg fetch "$SOFTREG_STUDY" {wildcards.kind:q} {wildcards.archive:q} 2>&1 | tee {log:q}'


rule prepare_dataset:
    input:
        lambda wildcards: [
            ancient(file) for file in places.archive_files(STUDY, wildcards.dataset)
        ],
    output:
        "data/prepared/{dataset}-{digest}/made-{key}",
    log:
        "logs/data/prepare/{dataset}-{digest}-{key}.log",
    wildcard_constraints:
        digest="[0-9a-f]{12}",
    # What is wrong with images stays so, and Snakemake would show the sentence once more for each try.
    retries: 0
    # workflow.cores would demand --cores where nothing runs, as for --report.
    threads: workflow._cores or 1
    resources:
        **stages.NO_GPU,
    shell:
        'softreg prepare "$SOFTREG_STUDY" {wildcards.dataset:q} --key {wildcards.key} 2> {log:q}'
