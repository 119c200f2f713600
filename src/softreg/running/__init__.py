"""How a study is carried out, by whatever engine: jobs, their keys and marks, GPUs, plans and status.

Start at `graph`: every job with the key of all that it is made from. `stages` does the jobs; a new stage is a job there
and a function here, and a rule in ``workflow/rules``. `survey`, `plan` and `status` tell how far a study is. Imports
everything below, torch only where a job needs it, and never Snakemake.
"""
