rule gather_scores:
    input:
        rules.sweep.input,
        [
            f"{RESULTS}/sweep/{'/'.join(group)}/sums.parquet"
            for group in matrix.groups(STUDY)
        ],
        [
            f"{RESULTS}/final/{path.name}/{name}.parquet"
            for path in matrix.final_paths(STUDY)
            for name in ("val", "test", "sums")
        ],
        selection=f"{RESULTS}/selection.csv",
    output:
        SCORES,
    log:
        f"{LOGS}/gather.log",
    params:
        content=STUDY.to_dict(),
        code=stages.code("softreg.scoring.gather"),
    shell:
        'softreg gather "$SOFTREG_STUDY" 2> {log:q}'


rule write_paper:
    input:
        SCORES,
    output:
        report=report(
            f"{RESULTS}/report.html",
            category="Report",
            caption="../report/report.rst",
        ),
        metrics=f"{RESULTS}/metrics.json",
        figures=report(
            directory(f"{RESULTS}/figures"),
            patterns=["{name}.png"],
            category="Figures",
            labels={"figure": "{name}"},
            caption="../report/figure.rst",
        ),
        tables=report(
            directory(f"{RESULTS}/tables"),
            patterns=["{name}.csv"],
            category="Tables",
            labels={"table": "{name}"},
            caption="../report/table.rst",
        ),
    log:
        f"{LOGS}/paper.log",
    params:
        folder=subpath(output.report, parent=True),
        code=stages.paper_code(),
    shell:
        "softreg paper {params.folder:q} 2> {log:q}"


# Without inputs: where only published scores are at hand, nothing that makes scores may run.
rule paper:
    log:
        f"{LOGS}/paper.log",
    params:
        folder=stages.paper_folder(STUDY).as_posix(),
    shell:
        "softreg paper {params.folder:q} 2>&1 | tee {log:q}"


rule partial:
    log:
        f"{LOGS}/partial.log",
    params:
        folder=f"{RESULTS}/partial",
    shell:
        '(softreg gather --partial "$SOFTREG_STUDY" && softreg paper {params.folder:q}) 2>&1 | tee {log:q}'
