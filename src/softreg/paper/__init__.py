"""From the gathered scores of a study to what a paper shows of it: statistics, answers, tables, figures and a report.

All of it is worked out from the folder ``scores/`` alone, so that whoever has that folder, and neither images nor a
GPU, gets the same bytes again. Start with `softreg.paper.scores`, which opens the folder as one object, `Scores`; what
each column means is said there. Then read one question from top to bottom, such as `softreg.paper.questions.sparsity`.

- `scores`: the folder in memory, and the order and the names in which a study shows its entries;
- `stats`: intervals and tests that know nothing of a study;
- `questions`: H1 to H7, each with its numbers, verdicts and sentences;
- `design`: what a study can decide of them, before it is trained or after;
- `convergence`: whether trainings had settled at the end of their schedule;
- `tables`, set by `typeset`: what the questions found, as CSV, Markdown and LaTeX;
- `figures`: the same numbers drawn, each with a CSV beside it;
- `report`: all of it in one HTML file, and metrics.json;
- `diff`: two versions of one study against each other.

What is here may import the modules of `softreg.scoring` that do without torch (such as gather, metrics, records and
select), `softreg.study`, `softreg.files` and `softreg.errors`. It never imports torch, nor anything that does: a paper
is made again within minutes on any machine.
"""
