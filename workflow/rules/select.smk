rule select_lambda:
    input:
        rules.sweep.input,
    output:
        f"{RESULTS}/selection.csv",
    log:
        f"{LOGS}/select.log",
    params:
        study=STUDY.file,
        rule=STUDY.selection,
        code=stages.code("softreg.select"),
    shell:
        "softreg select {params.study:q} 2> {log:q}"
