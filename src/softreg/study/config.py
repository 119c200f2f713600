"""A study: read from YAML, checked, and with every default filled in.

Imports no torch, unless the study names a class of the user's own, whose file is imported here.

What a study may say stands in ``study.schema.yaml``. Here are the checks that no schema expresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from softreg.errors import UserError, nearest, show, suggestion
from softreg.files import read_json
from softreg.own.classes import OwnClass, describe, entry_schema
from softreg.own.sources import is_own
from softreg.study import folder, folds, parts, strict_yaml
from softreg.study.folds import Entries
from softreg.study.lambdas import rates_of, spell
from softreg.study.roles import reference_of
from softreg.study.schema import Violation, dotted, filled, first_duplicate, study_schema, together, validate

#: Sections whose entries are named by the study, and the word for one entry in the schema's definitions.
_ENTRIES = {"datasets": "dataset", "models": "model", "penalties": "penalty"}
_CATALOGUE = Path(__file__).parents[1] / "networks" / "smp_catalogue.json"
#: The one encoder that the packaged weights fit.
_LITE0_ENCODER = "tu-tf_efficientnet_lite0"
_CONVNET_STRIDE = 4
#: Data terms that class weights, and smoothed labels, have a meaning for.
WEIGHTED = ("cross_entropy", "focal", "cross_entropy_dice", "focal_dice")
SMOOTHABLE = ("cross_entropy", "cross_entropy_dice", "squared_error", "smooth_l1")
#: The strongest λ of a placebo.
PLACEBO = 1e-9
#: Bytes of a study's file, entries of a section, and networks: more could not be trained, nor scheduled.
_LARGEST, _MOST_ENTRIES, _MOST_NETWORKS = 1_000_000, 500, 200_000
_LISTS = ("train_list", "val_list", "test_list")


@dataclass(frozen=True)
class Study:
    """A checked study: but for ``file``, the keys of its YAML with defaults; λ are strings, ascending."""

    name: str
    file: Path
    title: str
    datasets: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    penalties: dict[str, dict[str, Any]]
    training: dict[str, Any]
    seeds: dict[str, Any]
    selection: dict[str, Any]
    evaluation: dict[str, Any]
    resources: dict[str, Any]
    figures: dict[str, Any]
    statistics: dict[str, Any]
    mirrors: list[str]

    def training_of(self, model: str, penalty: str | None = None) -> dict[str, Any]:
        """``training``, with what the entry of ``model`` overrides, and over it that of ``penalty``.

        Where the penalty lists learning rates, with the first; each cell has its own.
        """
        training = _merged(self.training, self.models[model]["training"])
        if penalty is not None:
            training = _merged(training, self.penalties[penalty]["training"])
        return training | {"lr": training["lr"][0]} if isinstance(training["lr"], list) else training

    def to_dict(self) -> dict[str, Any]:
        """The study as JSON values that load as the same study; without the place of its file."""
        return {field.name: deepcopy(getattr(self, field.name)) for field in fields(self) if field.name != "file"}


def load_study(path: Path) -> Study:
    """Read, check and complete the study in a YAML file; of ``FILE:2/5`` the second of five parts.

    Paths inside it are relative to the working directory. Raises UserError for all that `study_of` refuses.
    """
    file, part = parts.of(path)
    try:
        study = study_of(_blank_as_empty(_read(file)), file)
    except Violation as problem:
        raise UserError(*(f"{file}: {fault}" for fault in problem.args)) from None
    if part is None:
        return study
    name, datasets = parts.name_of(study.name, *part), parts.datasets_of(study.datasets, path, *part)
    return replace(study, file=path, name=name, datasets=datasets)


def study_of(raw: dict[str, Any], file: Path) -> Study:
    """The study of these JSON values, complete, with the defaults of what an earlier version did not know.

    Raises Violation for what the schema does not allow, or where it allows all, for all else that is wrong.
    """
    values = filled(_completed(raw), study_schema())
    name = _name(values, file)
    study = Study(**values | {"file": file, "name": name, "title": " ".join(values["title"].split()) or name})
    _check(study)
    return study


def stride_of(model: Mapping[str, Any]) -> int:
    """The number of pixels that divides the sizes a ``models`` entry takes without padding.

    1 for dpt, whose patch size belongs to its encoder and is known only once that is built.
    """
    if is_own(model["kind"]):
        stated = getattr(describe(model["kind"], "model").class_, "stride", 1)
        return stated if isinstance(stated, int) and stated > 0 else 1
    if model["kind"] == "convnet":
        return _CONVNET_STRIDE
    if model["architecture"] == "dpt":
        return 1
    options = _catalogue()["architectures"][model["architecture"]] | model["options"]
    stride: int = min(options.get("encoder_output_stride", 32), 2 ** options["encoder_depth"])
    return stride


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise Violation("is a folder or a device; give the YAML file of a study")
        if path.stat().st_size > _LARGEST:
            raise Violation(f"holds more than {_LARGEST:,} bytes; give the YAML file of a study")
        # Some editors begin a file with the mark that utf-8-sig leaves out.
        value = strict_yaml.parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise Violation(f"no such file{_studies_beside(path)}") from None
    except OSError as error:
        raise Violation(f"cannot be read ({error.strerror}); give the YAML file of a study") from None
    except strict_yaml.StrictYamlError as error:
        raise Violation(str(error)) from None
    except UnicodeDecodeError:
        raise Violation("is not a text in UTF-8; give the YAML file of a study") from None
    if value is None:
        raise Violation("is empty; give at least datasets, models and penalties")
    if not isinstance(value, dict):
        raise Violation(f"holds {show(value)}; give a block of keys with datasets, models and penalties")
    return value


def _studies_beside(path: Path) -> str:
    """The study that may be meant, in the same folder or in config/; or else all in the same folder."""
    known = {file.stem: file for folder in (Path("config"), path.parent) for file in folder.glob("*.yaml")}
    if near := nearest(path.stem, known, 1, 0.6):
        return f"; did you mean {known[near[0]]}?"
    names = sorted(file.name for file in path.parent.glob("*.yaml"))
    if not names:
        return f", and no study in {path.parent}; give the YAML file of a study"
    return f"; the studies in {path.parent} are {', '.join(names)}"


def _blank_as_empty(raw: dict[str, Any]) -> dict[str, Any]:
    """A section or an entry that is named and left blank is null in YAML; its writer means no keys."""
    for key, schema in study_schema()["properties"].items():
        if schema.get("type") == "object" and raw.get(key, {}) is None:
            raw[key] = {}
        if key in _ENTRIES and isinstance(raw.get(key), dict):
            raw[key] = {name: {} if entry is None else entry for name, entry in raw[key].items()}
    return raw


def _completed(raw: dict[str, Any]) -> dict[str, Any]:
    """The study with complete entries. Raises Violation for all that the schema does not allow."""
    checks: list[Callable[[], Any]] = [partial(validate, raw)]
    checks += [partial(_section, raw, section) for section in _ENTRIES if section in raw]
    _, *complete = together(checks)
    return raw | dict(zip(_ENTRIES, complete, strict=True))


def _section(raw: dict[str, Any], section: str) -> Entries:
    """The complete entries of datasets, models or penalties, whatever is wrong with the others."""
    parts = study_schema()["properties"]
    entries = raw[section]
    validate(entries, parts[section], (section,))
    if section == "penalties":
        entries = _spread(entries, _by_realisation, "penalties.{name}.realisation makes a second entry {each}")
    elif section == "datasets":
        entries = _by_fold(entries, raw.get("evaluation", {}))
    _check_names(section, entries)
    made = together(partial(_entry, section, name, entry) for name, entry in entries.items())
    return dict(zip(entries, made, strict=True))


def _check_names(section: str, names: Collection[str]) -> None:
    if len(names) > _MOST_ENTRIES:
        made = {"penalties": ", one for each realisation", "datasets": ", one for each outer fold"}.get(section, "")
        raise Violation(f"{section} has {len(names)} entries{made}; give at most {_MOST_ENTRIES}")
    lower: dict[str, str] = {}
    for name in names:
        if (twin := lower.setdefault(name.lower(), name)) != name:
            raise Violation(
                f"{section} has {twin} and {name}, which some disks take for one folder; rename one of them"
            )


def _entry(section: str, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """One entry of datasets, models or penalties: checked as its kind, with its defaults."""
    where = (section, name)
    definition = _definition(section, name, entry)
    if isinstance(grid := entry.get("lambda"), list):
        # λ written as a text, as a completed study holds it.
        entry = entry | {"lambda": list(map(strict_yaml.unquoted, grid))}
    validate(entry, definition, where)
    complete = filled(entry, definition)
    if section == "datasets" and complete["kind"] == "folder":
        complete = {key: value for key, value in complete.items() if value is not None or key not in folder.YOUNGER}
    if section == "penalties":
        complete["lambda"] = _grid(complete["lambda"], f"{dotted(where)}.lambda")
        if isinstance(rates := complete["training"].get("lr"), list):
            _grid(rates, f"{dotted(where)}.training.lr")
            # In whatever order they are written.
            complete["training"]["lr"] = sorted(rates)
    return complete


def _definition(section: str, name: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of one entry, by its kind: one of SoftReg's, or a class in a file of the user's."""
    kind, noun = entry.get("kind", name), _ENTRIES[section]
    known: dict[str, Mapping[str, Any]] = study_schema()["$defs"]
    if not is_own(kind):
        if (definition := known.get(f"{noun}_{kind}")) is None:
            raise _unknown_kind(section, name, entry)
        return definition
    try:
        own = describe(kind, noun)
        schema = entry_schema(own, known[f"own_{noun}"])
        return _with_realisations(schema, own) if noun == "penalty" else schema
    except UserError as error:
        raise Violation(f"{section}.{name}.kind: {error}") from None


def _unknown_kind(section: str, name: str, entry: Mapping[str, Any]) -> Violation:
    kind, prefix = entry.get("kind", name), f"{_ENTRIES[section]}_"
    if str(kind).endswith(".py"):
        return Violation(f"{section}.{name}.kind is {show(kind)}; name the class in it too, as {kind}:CLASS")
    kinds = [definition.removeprefix(prefix) for definition in study_schema()["$defs"] if definition.startswith(prefix)]
    problem = f".kind is {show(kind)}" if "kind" in entry else " needs a kind, as its name is none"
    return Violation(f"{section}.{name}{problem}; {suggestion(kind, kinds, 'kinds')}")


def _with_realisations(schema: dict[str, Any], own: OwnClass) -> dict[str, Any]:
    """The schema of a user's penalty, with the realisations that its class has."""
    stated = own.class_.realisations
    needed = {"proximal": "prox_", "subgradient": "gradient", "decoupled": "gradient"}
    listed = stated if isinstance(stated, Collection) else ()
    had = [each for each in listed if own.defines(needed.get(each, ""))]
    if not had:
        raise UserError(
            f"{own.file}: {own.class_.__name__} has no realisation; "
            "write `prox_` or `gradient`, and state it in `realisations`"
        )
    realisation = {**schema["properties"]["realisation"], "default": had[0], "enum": had}
    return {**schema, "properties": {**schema["properties"], "realisation": realisation}}


def _spread(given: Entries, one_each: Callable[[str, dict[str, Any]], Entries], twice: str) -> Entries:
    """The entries that ``one_each`` makes of each. Raises Violation, by what ``twice`` says, for two of one name."""
    entries: Entries = {}
    for name, entry in given.items():
        for each, value in one_each(name, entry).items():
            if each in entries or (each != name and each in given):
                raise Violation(f"{twice.format(name=name, each=each)}; rename one of them")
            entries[each] = value
    return entries


def _by_fold(datasets: Entries, evaluation: Mapping[str, Any]) -> Entries:
    """The data sets, each as one for every outer fold, where the study has such."""
    try:
        validate(evaluation, study_schema()["properties"]["evaluation"])
    except Violation:
        # It is told with the study's other faults, and must not hide those of data sets.
        return datasets
    one_each = partial(folds.one_each, evaluation.get("folds"))
    return _spread(datasets, one_each, "evaluation.folds makes a second entry datasets.{each}")


def _by_realisation(name: str, entry: dict[str, Any]) -> Entries:
    """An entry that lists realisations as one of each: l1 as l1-proximal and l1-subgradient."""
    realisations = entry.get("realisation")
    if not isinstance(realisations, list):
        return {name: entry}
    known = _definition("penalties", name, entry)["properties"].get("realisation")
    if known is None:
        # A key that this kind does not have: the schema will say so.
        return {name: entry}
    if not realisations or first_duplicate(realisations) is not None:
        raise Violation(f"penalties.{name}.realisation is {show(realisations)}; give one value or more, each once")
    for place, each in enumerate(realisations):
        validate(each, known, ("penalties", name, "realisation", place))
    return {f"{name}-{each}": {"kind": name, **entry, "realisation": each} for each in realisations}


def _grid(values: Sequence[float], where: str) -> list[str]:
    grid = sorted(map(spell, values), key=float)
    twice = first_duplicate(grid)
    if twice is not None:
        raise Violation(f"{where} holds {twice} twice; give each value once, however it is written")
    return grid


def _name(values: Mapping[str, Any], path: Path) -> str:
    name: str = values["name"] or path.stem
    rule = study_schema()["properties"]["name"]["anyOf"][1]
    if not re.search(rule["pattern"], name):
        raise Violation(f"the file's name {show(name)} cannot name a folder of results; give name: {rule['title']}")
    return name


def _check(study: Study) -> None:
    """Raise Violation for all that no schema expresses; of one entry of the study, mostly for the first fault."""
    of_all = (_check_size, _check_mirrors, _check_seeds, _check_fewer, _check_looks, _check_selection, _check_style)
    checks = [partial(check, study) for check in of_all]
    for name, dataset in study.datasets.items():
        checks.append(partial(_check_split, study, name))
        if dataset["kind"] == "folder":
            checks.append(partial(folder.check, f"datasets.{name}", dataset))
    checks += [partial(_check_model, study, name) for name in study.models]
    checks += [partial(_check_penalty, study, name) for name in study.penalties]
    together(checks)


def _demand_known(told: str, word: str, known: Collection[str], noun: str) -> None:
    if word not in known:
        raise Violation(f"{told} {show(word)}; {suggestion(word, known, noun)}")


def _check_mirrors(study: Study) -> None:
    for place, mirror in enumerate(study.mirrors):
        if "://" in mirror and "@" in mirror:
            raise Violation(f"mirrors[{place}] carries a password, which results would show; give an open address")


def _check_size(study: Study) -> None:
    """Raise Violation where the grid has more networks than can be trained; a race trains fewer than these."""
    folds = study.selection["folds"] if study.selection["scorer"] == "kfold" else 1
    tuning, evaluation = len(study.seeds["tuning"]) * folds, len(study.seeds["evaluation"])
    counts = {}
    for name, entry in study.penalties.items():
        trials = len(entry["lambda"]) * len(rates_of(entry) or [""])
        counts[name] = len(study.datasets) * len(entry["models"] or study.models) * (trials * tuning + evaluation)
    if (total := sum(counts.values())) > _MOST_NETWORKS:
        most = max(counts, key=counts.__getitem__)
        raise Violation(
            f"{total:,} networks are to be trained, {counts[most]:,} of them for penalties.{most}; give fewer λ, "
            f"learning rates, seeds, folds or entries, for at most {_MOST_NETWORKS:,}"
        )


def _check_style(study: Study) -> None:
    """Raise Violation for names of figures that stand twice, or of what the study has not."""
    style = study.figures["style"]
    pairs: dict[str, tuple[str, str]] = {}
    for pair in product(folds.joined(study.datasets), study.models):
        if (other := pairs.setdefault("-".join(pair), pair)) != pair:
            raise Violation(
                f"the figures of data set {other[0]} with model {other[1]} would have the names of those of {pair[0]} "
                f"with {pair[1]}; rename one of them"
            )
    for place, name in enumerate(style["order"]):
        if name not in study.penalties:
            raise Violation(
                f"figures.style.order[{place}] is {show(name)}, which is no entry of penalties; "
                f"give some of {', '.join(study.penalties)}"
            )
    for name in style["names"]:
        if name not in {*study.datasets, *folds.joined(study.datasets), *study.models, *study.penalties}:
            raise Violation(
                f"figures.style.names has {show(name)}, which is no entry of datasets, models or penalties; "
                "give the name that the study uses"
            )
    _check_colours(study)


def _check_colours(study: Study) -> None:
    """Raise Violation where all classes stand in the study, and a colour is of none of them."""
    entries = list(study.datasets.values())
    if all(entry["kind"] == "folder" for entry in entries):
        known = list(dict.fromkeys(name for entry in entries for name in entry["classes"]))
        for name in study.figures["style"]["colours"]:
            _demand_known("figures.style.colours names", name, known, "classes")


def _check_seeds(study: Study) -> None:
    shared = [seed for seed in study.seeds["evaluation"] if seed in study.seeds["tuning"]]
    if shared:
        raise Violation(
            f"seeds.evaluation holds {shared[0]}, which is among seeds.tuning; give fresh seeds, such as "
            f"{max(study.seeds['tuning']) + 100}, as λ was selected on those"
        )


def _check_fewer(study: Study) -> None:
    available = len(study.seeds["evaluation"])
    for name, count in study.seeds["fewer"].items():
        _demand_known("seeds.fewer names", name, study.penalties, "entries of penalties")
        if count > available:
            raise Violation(f"seeds.fewer.{name} is {count}; give at most {available}, as many as seeds.evaluation has")


def _check_looks(study: Study) -> None:
    looks = study.statistics["looks"]
    if looks is not None and looks != sorted(looks):
        raise Violation(f"statistics.looks is {show(looks)}; give rising numbers of seeds, {show(sorted(looks))}")


def _check_selection(study: Study) -> None:
    selection = study.selection
    kfold = selection["scorer"] == "kfold"
    folds = selection["folds"] if kfold else 1
    if kfold and study.evaluation["folds"] is not None:
        raise Violation(
            f"selection.scorer is kfold and evaluation.folds {study.evaluation['folds']}; give scorer: holdout, as "
            "folds within folds would train each λ as many times again, or leave evaluation.folds out"
        )
    if selection["rule"] == "one_se" and folds * len(study.seeds["tuning"]) < 2:
        raise Violation(
            "selection.rule is one_se and one network has no standard error; give seeds.tuning a second seed, "
            "scorer: kfold, or rule: best"
        )
    if selection["search"] == "halving":
        _check_race(study)


def _check_race(study: Study) -> None:
    where, per_job = "selection.search is halving", study.resources["seeds_per_job"]
    if len(study.seeds["tuning"]) < 2:
        raise Violation(f"{where} and seeds.tuning has one seed, which is no race; give more seeds, or search: grid")
    if study.selection["rule"] == "one_se":
        raise Violation(
            f"{where} and selection.rule one_se; give rule: best, as the race drops by their mean the strong λ that "
            "one_se would take, or search: grid"
        )
    if study.selection["scorer"] == "kfold" and per_job > 1:
        raise Violation(
            f"{where}, selection.scorer kfold and resources.seeds_per_job {per_job}; give seeds_per_job: 1, as a seed "
            "waits for all folds of the seed before, or scorer: holdout"
        )


def _check_split(study: Study, name: str) -> None:
    split, where = study.datasets[name]["split"], f"datasets.{name}.split"
    if split["fold"] is not None:
        _check_fold(study, name)
    elif split["val"] + split["test"] >= 1:
        raise Violation(f"{where} has val {split['val']} and test {split['test']}; give shares that sum to less than 1")
    together(partial(_check_list, f"{where}.{key}", split[key], split["rule"]) for key in _LISTS)


def _check_fold(study: Study, name: str) -> None:
    """That a fold is one that ``evaluation.folds`` has made, and that the rule can draw it."""
    split, where = study.datasets[name]["split"], f"datasets.{name}.split"
    fold, of = split["fold"]
    if not fold < of == study.evaluation["folds"] or not name.endswith(folds.name_of("", fold)):
        raise Violation(
            f"{where}.fold is {show(split['fold'])}; leave it out, and give the number of outer folds as "
            "evaluation.folds, which makes each fold of all data sets"
        )
    if split["rule"] not in folds.DRAWN:
        raise Violation(
            f"{where}.rule is {split['rule']}, and outer folds (evaluation.folds) draw the test images themselves; "
            f"give rule: {' or '.join(folds.DRAWN)} where the data set has it, or leave evaluation.folds out"
        )
    if split["val"] + 1 / of >= 1:
        raise Violation(f"{where}.val is {split['val']} and a fold tests 1/{of}; give a share below {1 - 1 / of:.2g}")


def _check_list(where: str, file: str | None, rule: str) -> None:
    if rule == "list" and file is None:
        raise Violation(f"{where} is null; give a file of image ids, one a line, as the rule is list")
    if rule != "list" and file is not None:
        raise Violation(f"{where} is {show(file)} and the rule is {rule}; give rule: list, or leave the key out")
    if file is not None and not Path(file).is_file():
        raise Violation(f"{where} is {show(file)}, which is no file; give a file of image ids, one a line")


@cache
def _catalogue() -> dict[str, Any]:
    catalogue: dict[str, Any] = read_json(_CATALOGUE)
    return catalogue


def _check_smp(where: str, model: Mapping[str, Any]) -> None:
    architectures, name = _catalogue()["architectures"], model["architecture"]
    _demand_known(f"{where}.architecture is", name, architectures, "architectures")
    unknown = next((key for key in model["options"] if key not in architectures[name]), None)
    if unknown is not None:
        known = suggestion(unknown, architectures[name], f"keys of {name}")
        raise Violation(f"unknown key {where}.options.{unknown}; {known}")
    _check_encoder(where, model["encoder"])
    timms = next((key for key in model["options"] if "img_size" in key), None)
    if timms is not None and not model["encoder"].startswith("tu-"):
        raise Violation(f"{where}.options.{timms} is for encoders of timm, such as tu-swin_tiny_patch4_window7_224")
    _check_weights(where, model)


def _check_encoder(where: str, encoder: str) -> None:
    catalogue = _catalogue()
    # What follows a dot names a set of trained weights of the same model.
    base = encoder.removeprefix("tu-").partition(".")[0]
    if encoder in catalogue["encoders"] or (encoder.startswith("tu-") and base in catalogue["timm"]):
        return
    known = [*catalogue["encoders"], *(f"tu-{name}" for name in catalogue["timm"])]
    near = ", ".join(nearest(encoder, known, 3, 0.0))
    raise Violation(f"{where}.encoder is {show(encoder)}; give an encoder of the library, the nearest are {near}")


def _check_weights(where: str, model: Mapping[str, Any]) -> None:
    weights = model["weights"]
    if weights == "lite0" and model["encoder"] != _LITE0_ENCODER:
        raise Violation(
            f"{where}.weights is lite0 and its encoder {model['encoder']}; "
            f"give encoder: {_LITE0_ENCODER}, or weights: none or hub"
        )
    if weights not in ("none", "lite0", "hub") and not Path(weights).is_file():
        raise Violation(f"{where}.weights is {show(weights)}, which is no file; give a file, none, lite0 or hub")


def _check_model(study: Study, model: str) -> None:
    if study.models[model]["kind"] == "smp":
        _check_smp(f"models.{model}", study.models[model])
    training, overrides = study.training_of(model), study.models[model]["training"]

    def where(key: str) -> str:
        return f"models.{model}.training.{key}" if key in overrides else f"training.{key}"

    if training["crop"] is not None:
        _check_crop(where("crop"), training["crop"], model, stride_of(study.models[model]))
    _check_warmup(where("warmup_epochs"), training)
    scale = training["augmentation"]["scale"]
    if scale is not None and scale[0] > scale[1]:
        raise Violation(f"{where('augmentation')}.scale is {show(scale)}; give the smaller zoom first")
    objective = training["objective"]
    if objective["class_weights"] is not None and objective["kind"] not in WEIGHTED:
        raise Violation(
            f"{where('objective')}.class_weights is {objective['class_weights']} and kind {objective['kind']}; "
            f"give kind {' or '.join(WEIGHTED)}, or leave class_weights out"
        )


def _check_warmup(where: str, training: Mapping[str, Any]) -> None:
    warmup, epochs = training["warmup_epochs"], training["epochs"]
    if warmup > epochs:
        raise Violation(f"{where} is {warmup}; give at most the {epochs} epochs of training")


def _check_penalty(study: Study, name: str) -> None:
    """What an entry of penalties and the models that it is trained on ask of each other."""
    penalty, where = study.penalties[name], f"penalties.{name}"
    for model in penalty["models"] or ():
        _demand_known(f"{where}.models holds", model, study.models, "models")
    _check_role(study, name)
    if penalty["kind"] == "pruning" and penalty["between"][0] > penalty["between"][1]:
        raise Violation(f"{where}.between is {show(penalty['between'])}; give the smaller share first")
    for model in penalty["models"] or study.models:
        training = study.training_of(model, name)
        if {"warmup_epochs", "epochs"} & set(penalty["training"]):
            _check_warmup(f"{where}.training.warmup_epochs", training)
        if penalty["weights"] == "normalised" and study.models[model]["kind"] == "convnet":
            raise Violation(
                f"{where}.weights is normalised and model {model} has no normalisation layer; "
                f"give models: with the names of those that have one"
            )
        if penalty["kind"] == "adamw" and training["optimizer"] != "adam":
            raise Violation(
                f"{where} is AdamW and model {model} trains with {training['optimizer']}; give it "
                "training: {optimizer: adam, lr: 1e-3}, or take decoupled_decay, which any optimiser has"
            )
        objective = training["objective"]["kind"]
        if penalty["kind"] == "label_smoothing" and objective not in SMOOTHABLE:
            raise Violation(
                f"{where} smooths labels and the objective of model {model} is {objective}; "
                f"give models: with the names of others, or objective kind {' or '.join(SMOOTHABLE)}"
            )


def _check_role(study: Study, name: str) -> None:
    """What holds of checks alone, and of all other entries."""
    entry, where = study.penalties[name], f"penalties.{name}"
    if not entry["check"]:
        if "epochs" in entry["training"]:
            raise Violation(
                f"{where}.training.epochs: entries that are compared train equally long; leave it out, or give the "
                "entry check: true"
            )
        return
    if (strengths := len(entry["lambda"])) > 1:
        raise Violation(f"{where} is a check and has {strengths} λ; give it one")
    if reference_of(study.penalties, name) is None:
        raise Violation(
            f"{where} is a check, and no entry of kind none has the same training (but for epochs) to hold it against; "
            "add one, or give the check the learning rates that it lists"
        )
    if entry["kind"] != "none":
        _check_placebo(where, entry)
    elif "epochs" in entry["training"]:
        _check_longer(study, name)


def _check_placebo(where: str, entry: Mapping[str, Any]) -> None:
    if float(entry["lambda"][0]) > PLACEBO:
        raise Violation(
            f"{where} is a check by a penalty, and its λ is {entry['lambda'][0]}; give one that does nothing, at most "
            f"{spell(PLACEBO)}, such as 1e-12"
        )
    if "epochs" in entry["training"]:
        raise Violation(f"{where}.training.epochs: a placebo trains as long as the others; leave it out, or take none")


def _check_longer(study: Study, name: str) -> None:
    entry = study.penalties[name]
    for model in entry["models"] or study.models:
        epochs, others = entry["training"]["epochs"], study.training_of(model)["epochs"]
        if epochs <= others:
            raise Violation(
                f"penalties.{name}.training.epochs is {epochs}, and model {model} trains {others}; give more, such as "
                f"{2 * others}, or name other models under `models`"
            )


def _check_crop(where: str, crop: int | list[int], model: str, stride: int) -> None:
    sides = [crop] if isinstance(crop, int) else crop
    if all(side % stride == 0 for side in sides):
        return
    below = [max(side // stride, 1) * stride for side in sides]
    above = [-(-side // stride) * stride for side in sides]
    shown = [show(sizes[0] if isinstance(crop, int) else sizes) for sizes in (below, above)]
    raise Violation(
        f"{where} is {show(crop)}; give {' or '.join(dict.fromkeys(shown))}, "
        f"as model {model} takes multiples of {stride}"
    )


def _merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = deepcopy(dict(base))
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(merged[key], dict)
        merged[key] = _merged(merged[key], value) if both else deepcopy(value)
    return merged
