rule select_lambda:
    input:
        sweep_of,
    output:
        f"{RESULTS}/selection/{{dataset}}/{{model}}/{{penalty}}.made-{{key}}",
    log:
        f"{LOGS}/select/{{dataset}}/{{model}}/{{penalty}}-{{key}}.log",
    priority: stages.SELECTING_PRIORITY
    shell:
        'softreg select "$SOFTREG_STUDY" {wildcards.dataset:q}/{wildcards.model:q}/{wildcards.penalty:q} '
        "--key {wildcards.key} 2> {log:q}"
