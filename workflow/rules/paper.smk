rule gather_scores:
    input:
        lambda wildcards: before_gathering(),
    output:
        # Outputs are removed before a rule runs, and the record of looks goes on.
        [
            f"{RESULTS}/scores/{name}"
            for name in places.scores_of(STUDY)
            if name != places.LOOKS
        ],
        GRAPH.gather.mark.as_posix(),
    log:
        f"{LOGS}/gather.log",
    params:
        key=GRAPH.gather.key,
    shell:
        'softreg gather "$SOFTREG_STUDY" --key {params.key} 2> {log:q}'


rule write_paper:
    input:
        mark(GRAPH.gather),
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
        mark=GRAPH.paper.mark.as_posix(),
    log:
        f"{LOGS}/paper.log",
    params:
        folder=subpath(output.report, parent=True),
        key=GRAPH.paper.key,
    shell:
        "softreg paper {params.folder:q} --key {params.key} 2> {log:q}"


# Without inputs: where only published scores are at hand, nothing that makes scores may run.
rule paper:
    log:
        f"{LOGS}/paper.log",
    params:
        folder=places.paper_folder(STUDY).as_posix(),
    shell:
        "softreg paper {params.folder:q} 2>&1 | tee {log:q}"


rule partial:
    log:
        f"{LOGS}/partial.log",
    params:
        folder=f"{RESULTS}/partial",
    shell:
        '(softreg gather --partial "$SOFTREG_STUDY" && softreg paper {params.folder:q}) 2>&1 | tee {log:q}'
