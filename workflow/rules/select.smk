rule select_lambda:
    input:
        lambda wildcards: [
            mark(GRAPH.last(path))
            for path in GRAPH.sweep
            if path.group == group_of(wildcards)
        ],
    output:
        f"{RESULTS}/selection/{{dataset}}/{{model}}/{{penalty}}.made-{{key}}",
    log:
        f"{LOGS}/select/{{dataset}}/{{model}}/{{penalty}}-{{key}}.log",
    priority: stages.SELECTING_PRIORITY
    shell:
        'softreg select "$SOFTREG_STUDY" {wildcards.dataset:q}/{wildcards.model:q}/{wildcards.penalty:q} '
        "--key {wildcards.key} 2> {log:q}"
