# One archive a path, for DVC or to hand on; what lies in it is what the rest of the workflow has made.
rule pack:
    input:
        rules.sweep.input,
        SCORES,
        # Only so that it is noted too; DVC gives it a new time when it looks at it.
        ancient(f"{RESULTS}/report.html"),
    output:
        f"{RESULTS}/packs/records.json",
    log:
        f"{LOGS}/pack.log",
    params:
        code=stages.code("softreg.running.packs"),
    shell:
        'softreg pack "$SOFTREG_STUDY" 2>&1 | tee {log:q}'
