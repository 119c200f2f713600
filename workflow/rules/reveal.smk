# The sweeps of a data set × model on test, for what is told of them: only once all their λ̂ stand, and read by no rule
# that selects.
rule reveal_sweep:
    input:
        lambda wildcards: [
            mark(GRAPH.select(group)) for group in GRAPH.revealed[group_of(wildcards)]
        ],
    output:
        f"{RESULTS}/sweep/{{dataset}}/{{model}}/{{penalty}}/made-{{key}}",
    log:
        f"{LOGS}/reveal/{{dataset}}/{{model}}/{{penalty}}-{{key}}.log",
    threads: STUDY.resources["threads"]
    resources:
        **stages.job_resources(STUDY),
    params:
        groups=lambda wildcards: [
            "/".join(group) for group in GRAPH.revealed[group_of(wildcards)]
        ],
    shell:
        'softreg reveal "$SOFTREG_STUDY" {params.groups:q} --key {wildcards.key} 2> {log:q}'
