rule select_lambda:
    input:
        lambda wildcards: stages.group_scores(
            STUDY, wildcards.dataset, wildcards.model, wildcards.penalty
        ),
    output:
        f"{stages.selection_stem(STUDY)}{{dataset}}/{{model}}/{{penalty}}.csv",
    log:
        f"{LOGS}/select/{{dataset}}/{{model}}/{{penalty}}.log",
    priority: stages.SCORING_PRIORITY
    params:
        selection=STUDY.selection,
        code=stages.code("softreg.scoring.select"),
    shell:
        'softreg select "$SOFTREG_STUDY" {wildcards.dataset:q}/{wildcards.model:q}/{wildcards.penalty:q} 2> {log:q}'


rule list_selection:
    input:
        [
            f"{stages.selection_stem(STUDY)}{'/'.join(group)}.csv"
            for group in matrix.groups(STUDY)
        ],
    output:
        f"{RESULTS}/selection.csv",
    log:
        f"{LOGS}/select.log",
    shell:
        'softreg select "$SOFTREG_STUDY" 2> {log:q}'
