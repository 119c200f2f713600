# One archive a job, for DVC or to hand on; what lies in it is what the rest of the workflow has made.
rule pack:
    input:
        mark(GRAPH.paper),
    output:
        GRAPH.pack.mark.as_posix(),
    log:
        f"{LOGS}/pack.log",
    shell:
        'softreg pack "$SOFTREG_STUDY" 2>&1 | tee {log:q}'
