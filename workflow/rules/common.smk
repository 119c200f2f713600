# What rules name by their wildcards.


def mark(job):
    """The file that says that a job is done, whatever its time."""
    return ancient(job.mark.as_posix())


def marks(jobs):
    """Those of ``jobs``, each once."""
    return [mark(job) for job in dict.fromkeys(jobs)]


def path_of(wildcards):
    """The training path that a job's wildcards name."""
    return parse_path(wildcards.phase, wildcards.path)


def group_of(wildcards):
    """The data set × model × penalty that a job's wildcards name."""
    return wildcards.dataset, wildcards.model, wildcards.penalty


def sweep_of(wildcards):
    """The sweep of a job's group."""
    paths = sweep_paths(STUDY, group_of(wildcards))
    return marks(map(GRAPH.last, paths))


def before_training(wildcards):
    """What a path needs: its data; in the final its group's λ̂, in a race the seeds before."""
    path = path_of(wildcards)
    return marks([GRAPH.prepare(path.dataset), *GRAPH.before(path)])


def before_gathering():
    """What is gathered: all paths, their λ̂, and the sweeps on test."""
    paths = map(GRAPH.last, GRAPH.sweep + GRAPH.final)
    revealed = (GRAPH.last_revealed(groups[0]) for groups in GRAPH.revealed.values())
    return marks([*paths, *map(GRAPH.select, GRAPH.groups), *revealed])
