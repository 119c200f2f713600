"""What the study asked for in words, the λ that was chosen, and what ran where: the parts without measurements."""

from __future__ import annotations

from typing import Any

from softreg.paper import checks, tables
from softreg.paper.questions.estimates import rows_of
from softreg.paper.scores import Scores
from softreg.scoring.select import GROUP
from softreg.study.lambdas import rates_of

_WORDS = {"lr": "learning rate", "lambda": "λ", "mem_mb": "memory (MB)"}


def plain(value: Any) -> str:
    """A value of a study in words; of a block of keys, those that acted."""
    if isinstance(value, dict):
        return "; ".join(f"{_word(name)} {plain(inner)}" for name, inner in acted(value).items())
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    if value is None:
        return "–"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def training(options: dict[str, Any]) -> list[tuple[str, str]]:
    """Options of training that acted, each with its value."""
    return [(_word(name), plain(value)) for name, value in acted(options).items()]


def acted(options: dict[str, Any]) -> dict[str, Any]:
    """The keys of a block that changed a result, as a study has every key with its default.

    Left out is what has no value, and what only another choice in the same block would read, such as a focal loss's
    gamma. How images were split is told with the data.
    """
    kind, idle = str(options.get("kind")), {"checkpoint_seconds", "split", "check"}
    if "optimizer" in options:
        idle.add("betas" if options["optimizer"] == "sgd" else "momentum")
    if "class_weights" in options:
        idle |= {name for name, of in (("beta", "smooth_l1"), ("gamma", "focal")) if of not in kind}
    if kind == "none":
        idle |= {"lambda", "realisation", "weights"}
    off = {"warmup_epochs", "scale", "flip", "brightness", "contrast", "saturation"}
    idle |= {name for name in off & set(options) if not options[name]}
    return {name: value for name, value in options.items() if name not in idle and value not in (None, {}, "")}


def place(scores: Scores, dataset: str, model: str) -> list[str]:
    """What a data set and a model are called, as far as the study has several."""
    parts = {"datasets": dataset, "models": model}
    return [scores.label(name) for part, name in parts.items() if len(scores.study[part]) > 1]


def _word(name: str) -> str:
    """A key of a study as it reads in a sentence."""
    return _WORDS.get(name, name.replace("_", " "))


def selection(scores: Scores) -> list[dict[Any, Any]]:
    """λ̂ of each group with its validation score.

    ``weakest`` is what the weakest λ differs from no penalty, where the grid has several.
    """
    weakest = {(row.dataset, row.model, row.penalty): tables.difference(row) for row in rows_of(checks.weakest(scores))}
    rows = []
    for row in scores.selection.to_dict("records"):
        entry = scores.study["penalties"][row["penalty"]]
        grid, rates = entry["lambda"], rates_of(entry)
        mean, error = (tables.number(row[f"{name}_points"], 2) for name in ("val_miou", "val_se"))
        tried = f"{_range(grid)}; learning rate {_range(rates)}" if rates else _range(grid)
        group = tuple(row[name] for name in GROUP)
        told = {"score": mean if error == "–" else f"{mean} ± {error}", "grid": tried}
        rows.append(row | told | {"weakest": weakest.get(group, "–")})
    return rows


def _range(grid: list[str]) -> str:
    return grid[0] if len(grid) == 1 else f"{grid[0]} to {grid[-1]}, {len(grid)} values"


def edges(row: dict[Any, Any], entry: dict[str, Any]) -> list[str]:
    """At which ends of what was tried a choice is, a row of the selection; ``entry`` is that of its penalty.

    Of outer folds, the choice of any.
    """
    grid, rates, found = entry["lambda"], rates_of(entry), []
    chosen = row.get("chosen", row["lambda"]).split(", ")
    for value, end, way in ((grid[0], "smallest", "down"), (grid[-1], "largest", "up")):
        if row["at_edge"] and value in chosen and float(value):
            found.append(f"λ̂ is the {end} of the grid, so extend the grid {way}")
    if len(rates) > 1 and row["lr"] in (rates[0], rates[-1]):
        end, way = ("smallest", "down") if row["lr"] == rates[0] else ("largest", "up")
        found.append(f"the learning rate is the {end} tried, so extend the list {way}")
    return found


def doubts(row: dict[Any, Any], entry: dict[str, Any]) -> list[str]:
    """What else is doubtful of a choice, a row of the selection."""
    if not row["lambda"]:
        return ["no cell finished, so no λ could be chosen"]
    found = []
    if row["lambda"] == "0" and len(entry["lambda"]) > 1:
        found.append("no penalty (λ = 0) was best")
    if len(set(row.get("chosen", "").split(", "))) > 1:
        found.append(f"λ̂ is the one chosen most often, as the outer folds chose {row['chosen']}")
    if row["n"] < row["expected"]:
        found.append(f"λ̂ rests on {row['n']} of {row['expected']} cells, as every λ lacks some")
    return found


def provenance(recorded: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """Each item and its values, with the number of cells where they differ."""
    rows = []
    for name, values in recorded.items():
        texts = [value if len(values) == 1 else f"{value} ({count} cells)" for value, count in values.items()]
        rows.append((name.removeprefix("versions."), "; ".join(texts)))
    return rows
