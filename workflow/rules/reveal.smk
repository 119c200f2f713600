# The sweep on test, for what is told of it: only once λ̂ stands, and read by no rule that selects.
rule reveal_sweep:
    input:
        sweep_of,
        lambda wildcards: mark(GRAPH.select(group_of(wildcards))),
    output:
        f"{RESULTS}/sweep/{{dataset}}/{{model}}/{{penalty}}/made-{{key}}",
    log:
        f"{LOGS}/reveal/{{dataset}}/{{model}}/{{penalty}}-{{key}}.log",
    threads: STUDY.resources["threads"]
    resources:
        **stages.job_resources(STUDY),
    shell:
        'softreg reveal "$SOFTREG_STUDY" {wildcards.dataset:q}/{wildcards.model:q}/{wildcards.penalty:q} '
        "--key {wildcards.key} 2> {log:q}"
