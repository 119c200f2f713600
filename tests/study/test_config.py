import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from softreg.errors import UserError
from softreg.files import digest
from softreg.study import folds
from softreg.study.config import load_study, stride_of
from softreg.study.matrix import count_cells
from softreg.study.treatment import CONTROLS

LEAST = "datasets: {brain: }\nmodels: {convnet: }\npenalties: {none: }\n"
SMP = "datasets: {brain: }\npenalties: {none: }\nmodels: {u: {kind: smp, MODEL}}\n"
TWO = "datasets: {brain: }\nmodels: {convnet: , unet: {kind: smp}}\npenalties: {none: , PEN}\n"
FOLDER = "models: {convnet: }\npenalties: {none: }\ndatasets: {own: {kind: folder, classes: [a, b], OWN}}\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(text, name="study.yaml"):
        Path(name).write_text(text, encoding="utf-8")
        return load_study(Path(name))

    return load


def test_the_least_study_has_every_default(load):
    study = load(LEAST)
    assert (study.name, study.title, study.file) == ("study", "study", Path("study.yaml"))
    assert study.datasets["brain"]["kind"] == "brain"
    assert study.datasets["brain"]["split"]["rule"] == "official"
    assert study.models == {"convnet": {"kind": "convnet", "dropout": 0.5, "training": {}}}
    assert study.penalties == {
        "none": {
            "kind": "none",
            "lambda": ["0"],
            "realisation": "proximal",
            "weights": "all",
            "models": None,
            "training": {},
            "check": False,
        }
    }
    assert study.training["objective"] == {"kind": "cross_entropy", "beta": 0.5, "gamma": 2.0, "class_weights": None}
    assert study.training["augmentation"]["scale"] == [0.75, 1.33]
    assert study.selection == {"scorer": "holdout", "folds": 5, "rule": "best", "search": "grid"}
    assert study.resources == {"threads": 1, "gpu": 0, "mem_mb": 4000, "runtime": 120, "seeds_per_job": 1}
    assert study.mirrors == []


@pytest.mark.parametrize("given", ["table: t.csv", "table: t.csv, values: null, range: null"])
def test_a_key_without_a_value_is_no_part_of_what_earlier_studies_are_known_by(load, given):
    entry = load(FOLDER.replace("OWN", given)).datasets["own"]
    before = {"kind", "size", "fit", "split", "images", "masks", "table", "classes", "palette", "ignore"}
    assert set(entry) == before
    # As it was when studies were first prepared under it.
    assert digest(entry) == "fff612aca78ab3c1cba64713a385395dfd45541359cf3ee6d78b3e62a18eed28"


def test_split_rules_default_by_kind(load):
    kinds = {
        "camvid oxford_pet voc2012 cifar10 brain shapes": "official",
        "wbc nuclei kvasir": "fraction",
    }
    for names, rule in kinds.items():
        study = load(LEAST.replace("{brain: }", "{" + ", ".join(f"{name}: " for name in names.split()) + "}"))
        assert {dataset["split"]["rule"] for dataset in study.datasets.values()} == {rule}
    assert load(FOLDER.replace("OWN", "table: t.csv")).datasets["own"]["split"]["rule"] == "fraction"


def test_lambdas_are_spelled_sorted_and_numbers_however_written(load):
    study = load(LEAST.replace("none: }", 'none: , l1: {lambda: [0.001, 1e-5, "3.16E-4", 2]}}')).penalties
    assert study["l1"]["lambda"] == ["1e-5", "3.16e-4", "1e-3", "2e0"]


def test_a_models_training_overrides_key_by_key(load):
    models = "models: {convnet: , slow: {kind: convnet, training: {lr: 1e-3, objective: {beta: 0.1}, crop: null}}}"
    study = load(LEAST.replace("models: {convnet: }", models) + "training: {lr: 0.2, crop: 32, epochs: 3}\n")
    assert study.training_of("convnet") == study.training
    slow = study.training_of("slow")
    assert (slow["lr"], slow["crop"], slow["epochs"]) == (0.001, None, 3)
    assert slow["objective"] == {"kind": "cross_entropy", "beta": 0.1, "gamma": 2.0, "class_weights": None}
    assert study.training["objective"]["beta"] == 0.5
    assert study.training["lr"] == 0.2


def test_a_penaltys_training_goes_over_the_models_and_the_studys(load):
    models = "models: {convnet: , slow: {kind: convnet, training: {lr: 1e-3, momentum: 0.5}}}"
    penalties = "penalties: {none: , l2: {training: {optimizer: adam, lr: 0.02}}}"
    study = load(LEAST.replace("models: {convnet: }", models).replace("penalties: {none: }", penalties))
    for model, momentum in (("convnet", 0.9), ("slow", 0.5)):
        found = study.training_of(model, "l2")
        assert (found["optimizer"], found["lr"], found["momentum"]) == ("adam", 0.02, momentum)
        assert study.training_of(model, "none") == study.training_of(model)
    assert study.training_of("slow")["lr"] == 0.001
    assert study.training["optimizer"] == "sgd"


def test_a_list_of_realisations_is_one_entry_each_in_its_place(load):
    penalties = (
        "{none: , l1: {realisation: [proximal, subgradient], lambda: [1e-3], models: [unet]}, "
        "decay: {kind: l2, realisation: [decoupled]}, soft: }"
    )
    found = load(TWO.replace("{none: , PEN}", penalties)).penalties
    assert list(found) == ["none", "l1-proximal", "l1-subgradient", "decay-decoupled", "soft"]
    for realisation in ("proximal", "subgradient"):
        entry = found[f"l1-{realisation}"]
        assert (entry["kind"], entry["realisation"]) == ("l1", realisation)
        assert (entry["lambda"], entry["models"]) == (["1e-3"], ["unet"])
    assert (found["decay-decoupled"]["kind"], found["decay-decoupled"]["realisation"]) == ("l2", "decoupled")


def test_decay_as_torch_has_it_acts_on_everything_unless_told_otherwise(load):
    penalties = "weight_decay: , adamw: {training: {optimizer: adam}}, bare: {kind: weight_decay, weights: all}"
    found = load(TWO.replace("PEN", penalties)).penalties
    assert [found[name]["weights"] for name in ("weight_decay", "adamw", "bare")] == ["everything", "everything", "all"]
    assert found["adamw"]["lambda"] == ["1e-2"]


def test_controls_have_a_strength_and_no_realisation(load):
    penalties = load(TWO.replace("PEN", "dropout: , label_smoothing: , pruning: , small_dense: ")).penalties
    for kind in ("dropout", "label_smoothing", "pruning", "small_dense"):
        assert "realisation" not in penalties[kind]
        assert all(0 < float(value) < 1 for value in penalties[kind]["lambda"])
    assert penalties["pruning"]["between"] == [0.25, 0.75]


def test_a_completed_study_loads_as_itself(load):
    penalties = (
        "penalties: {none: , l1-sub: {kind: l1, lambda: [0.01, 1e-3], realisation: subgradient}, dropout: , "
        "l2: {realisation: [proximal, decoupled], training: {lr: 0.01}, models: [convnet]}}"
    )
    study = load(LEAST.replace("penalties: {none: }", penalties) + "name: first\ntraining: {epochs: 3}\n")
    again = load(json.dumps(study.to_dict()), "again.yaml")
    assert again.to_dict() == study.to_dict()


def test_changing_what_to_dict_gives_changes_no_study(load):
    study = load(LEAST)
    study.to_dict()["seeds"]["tuning"].append(7)
    study.training_of("convnet")["augmentation"]["flip"] = None
    assert study.seeds["tuning"] == [0, 1]
    assert study.training["augmentation"]["flip"] is True


WRONG = {
    "a file without its class": (
        LEAST.replace("none: ", "ridge: {kind: ridge.py, lambda: [1e-3]}"),
        'penalties.ridge.kind is "ridge.py"; name the class in it too, as ridge.py:CLASS',
    ),
    "negative λ": (
        LEAST.replace("none: ", "l1: {lambda: [1e-3, 1e-2, -0.1]}"),
        "penalties.l1.lambda[2] is -0.1; give a number from 0 to 1000000",
    ),
    "λ of zero of a control": (
        LEAST.replace("none: ", "dropout: {lambda: [0]}"),
        "penalties.dropout.lambda[0] is 0; give a number above 0 and below 1",
    ),
    "a learning rate twice": (
        LEAST.replace("none: ", "none: {training: {lr: [0.1, 1e-1]}}"),
        "penalties.none.training.lr holds 1e-1 twice; give each value once, however it is written",
    ),
    "learning rates of a model": (
        LEAST.replace("convnet: }", "convnet: {training: {lr: [0.1, 0.2]}}}"),
        "models.convnet.training.lr is [0.1, 0.2]; give a number above 0 and at most 1000",
    ),
    "λ no number": (
        LEAST.replace("none: ", "l1: {lambda: [1e-3, big]}"),
        'penalties.l1.lambda[1] is "big"; give a number from 0 to 1000000',
    ),
    "adamw under sgd": (
        LEAST.replace("none: ", "adamw: "),
        "penalties.adamw is AdamW and model convnet trains with sgd; give it training: {optimizer: adam, lr: 1e-3}, "
        "or take decoupled_decay, which any optimiser has",
    ),
    "everything of a penalty that has a prox": (
        LEAST.replace("none: ", "l1: {weights: everything}"),
        'penalties.l1.weights is "everything"; give all or encoder or decoder or normalised',
    ),
    "λ nan": (
        LEAST.replace("none: ", "l1: {lambda: [.nan]}"),
        "penalties.l1.lambda[0] is NaN; give a number from 0 to 1000000",
    ),
    "λ infinite": (
        LEAST.replace("none: ", "l1: {lambda: [.inf]}"),
        "penalties.l1.lambda[0] is Infinity; give a number from 0 to 1000000",
    ),
    "λ beyond any float": (
        LEAST.replace("none: ", f"l1: {{lambda: [{'9' * 400}]}}"),
        f"penalties.l1.lambda[0] is {'9' * 77}...; give a number from 0 to 1000000",
    ),
    "λ twice": (
        LEAST.replace("none: ", "l1: {lambda: [0.001, 1e-4, 1e-3]}"),
        "penalties.l1.lambda holds 1e-3 twice; give each value once, however it is written",
    ),
    "λ alone": (
        LEAST.replace("none: ", "l1: {lambda: 1e-3}"),
        "penalties.l1.lambda is 0.001; give a list of 1 to 1000 values, each a number from 0 to 1000000",
    ),
    "no λ": (
        LEAST.replace("none: ", "l1: {lambda: []}"),
        "penalties.l1.lambda is []; give a list of 1 to 1000 values, each a number from 0 to 1000000",
    ),
    "λ of no penalty": (
        LEAST.replace("none: ", "none: {lambda: [1e-3]}"),
        "penalties.none.lambda is [0.001]; give [0], or leave the key out",
    ),
    "misspelled key": (
        LEAST + "training: {epoch: 3}\n",
        'unknown key training.epoch; did you mean "epochs" (keys known: epochs, batch_size, crop, objective, '
        "optimizer, lr, momentum, betas, schedule, warmup_epochs, average, augmentation, "
        "checkpoint_seconds, validate_every)?",
    ),
    "unknown key": (
        LEAST + "selection: {xyz: 3}\n",
        "unknown key selection.xyz; keys known: scorer, folds, rule, search",
    ),
    "misspelled key of an entry": (
        LEAST.replace("none: ", "elastic_net: {alfa: 0.3}"),
        'unknown key penalties.elastic_net.alfa; did you mean "alpha" '
        "(keys known: kind, lambda, realisation, weights, models, training, check, alpha)?",
    ),
    "misspelled override": (
        LEAST.replace("convnet: }", "convnet: {training: {augmentation: {flipp: true}}}}"),
        'unknown key models.convnet.training.augmentation.flipp; did you mean "flip" '
        "(keys known: scale, flip, brightness, contrast, saturation)?",
    ),
    "wrong choice": (
        LEAST.replace("none: ", "l1: {realisation: proximel}"),
        'penalties.l1.realisation is "proximel"; give proximal or subgradient',
    ),
    "unknown kind": (
        LEAST.replace("{brain: }", "{road: {kind: camvit}}"),
        'datasets.road.kind is "camvit"; did you mean "camvid" (kinds known: brain, shapes, camvid, wbc, '
        "nuclei, oxford_pet, voc2012, kvasir, cifar10, folder)?",
    ),
    "kind left out": (
        LEAST.replace("{convnet: }", "{unet: }"),
        "models.unet needs a kind, as its name is none; kinds known: convnet, smp",
    ),
    "name of an entry": (
        LEAST.replace("{convnet: }", "{a/b: {kind: convnet}}"),
        'models has an entry named "a/b"; give a name of at most 60 letters, digits, - and _ that '
        "starts with a letter or digit; con, nul and the like name devices",
    ),
    "no entries": (
        LEAST.replace("{brain: }", ""),
        "datasets is {}; give a block with one or more named entries",
    ),
    "section missing": (
        "datasets: {brain: }\nmodels: {convnet: }\n",
        "the study has no penalties; give a block with one or more named entries",
    ),
    "entry of the wrong type": (
        LEAST.replace("{brain: }", "{brain: 3}"),
        "datasets.brain is 3; give a block of keys",
    ),
    "list for a block": (
        LEAST.replace("{brain: }", "[brain]"),
        'datasets is ["brain"]; give a block with one or more named entries',
    ),
    "fraction for a count": (
        LEAST + "training: {epochs: 1e1}\n",
        "training.epochs is 10.0; give a whole number from 1 to 100000",
    ),
    "truth for a number": (
        LEAST + "training: {lr: true}\n",
        "training.lr is true; give a number above 0 and at most 1000",
    ),
    "range": (
        LEAST.replace("none: ", "elastic_net: {alpha: 1.5}"),
        "penalties.elastic_net.alpha is 1.5; give a number from 0 to 1",
    ),
    "crop of a wrong type": (
        LEAST + "training: {crop: [32]}\n",
        "training.crop is [32]; give null or a whole number from 1 to 16384 or a list of 2 values, each "
        "a whole number from 1 to 16384",
    ),
    "crop off the stride": (
        LEAST + "training: {crop: 50}\n",
        "training.crop is 50; give 48 or 52, as model convnet takes multiples of 4",
    ),
    "crop off one model's stride": (
        SMP.replace("MODEL", "training: {crop: [360, 480]}"),
        "models.u.training.crop is [360, 480]; give [352, 480] or [384, 480], as model u takes multiples of 32",
    ),
    "crop below the stride": (
        SMP.replace("MODEL", "options: {encoder_depth: 4}, training: {crop: 8}"),
        "models.u.training.crop is 8; give 16, as model u takes multiples of 16",
    ),
    "one network without a standard error": (
        LEAST + "seeds: {tuning: [0]}\nselection: {rule: one_se}\n",
        "selection.rule is one_se and one network has no standard error; give seeds.tuning a second seed, "
        "scorer: kfold, or rule: best",
    ),
    "a race of one seed": (
        LEAST + "seeds: {tuning: [0]}\nselection: {search: halving}\n",
        "selection.search is halving and seeds.tuning has one seed, which is no race; give more seeds, or search: grid",
    ),
    "a race for the strongest within an error": (
        LEAST + "selection: {search: halving, rule: one_se}\n",
        "selection.search is halving and selection.rule one_se; give rule: best, as the race drops by their mean the "
        "strong λ that one_se would take, or search: grid",
    ),
    "a race of folds whose jobs wait for each other": (
        LEAST + "selection: {search: halving, scorer: kfold}\nresources: {seeds_per_job: 2}\n",
        "selection.search is halving, selection.scorer kfold and resources.seeds_per_job 2; give seeds_per_job: 1, as "
        "a seed waits for all folds of the seed before, or scorer: holdout",
    ),
    "seed in both phases": (
        LEAST + "seeds: {tuning: [0, 1], evaluation: [5, 1]}\n",
        "seeds.evaluation holds 1, which is among seeds.tuning; give fresh seeds, such as 101, "
        "as λ was selected on those",
    ),
    "seed twice": (
        LEAST + "seeds: {tuning: [3, 3]}\n",
        "seeds.tuning holds 3 twice; give each value once",
    ),
    "one fold": (
        LEAST + "selection: {scorer: kfold, folds: 1}\n",
        "selection.folds is 1; give a whole number from 2 to 100",
    ),
    "a fold by hand": (
        LEAST.replace("brain: ", "x-fold0: {kind: wbc, split: {fold: [0, 5]}}"),
        "datasets.x-fold0.split.fold is [0, 5]; leave it out, and give the number of outer folds as evaluation.folds, "
        "which makes each fold of all data sets",
    ),
    "warm-up longer than training": (
        LEAST + "training: {epochs: 2, warmup_epochs: 3}\n",
        "training.warmup_epochs is 3; give at most the 2 epochs of training",
    ),
    "zoom in the wrong order": (
        LEAST + "training: {augmentation: {scale: [1.5, 0.5]}}\n",
        "training.augmentation.scale is [1.5, 0.5]; give the smaller zoom first",
    ),
    "unknown architecture": (
        SMP.replace("MODEL", "architecture: Unet"),
        'models.u.architecture is "Unet"; did you mean "unet" (architectures known: deeplabv3, '
        "deeplabv3plus, dpt, fpn, linknet, manet, pan, pspnet, segformer, unet, unetplusplus, upernet)?",
    ),
    "unknown option": (
        SMP.replace("MODEL", "architecture: linknet, options: {decoder_channels: [1]}"),
        "unknown key models.u.options.decoder_channels; keys of linknet known: encoder_depth, decoder_use_norm, "
        "dynamic_img_size, img_size, strict_img_size",
    ),
    "option of a wrong type": (
        SMP.replace("MODEL", "options: {encoder_depth: deep}"),
        'models.u.options.encoder_depth is "deep"; give a whole number from 3 to 5',
    ),
    "unknown encoder": (
        SMP.replace("MODEL", "encoder: resnet35"),
        'models.u.encoder is "resnet35"; give an encoder of the library, the nearest are resnet50, resnet34, resnet152',
    ),
    "lite0 for another encoder": (
        SMP.replace("MODEL", "weights: lite0"),
        "models.u.weights is lite0 and its encoder resnet34; give encoder: tu-tf_efficientnet_lite0, "
        "or weights: none or hub",
    ),
    "weights file missing": (
        SMP.replace("MODEL", "weights: mine.safetensors"),
        'models.u.weights is "mine.safetensors", which is no file; give a file, none, lite0 or hub',
    ),
    "weights of another format": (
        SMP.replace("MODEL", "weights: mine.pth"),
        'models.u.weights is "mine.pth"; give none or lite0 or hub or the path of a .safetensors file',
    ),
    "list rule without lists": (
        FOLDER.replace("OWN", "table: t.csv, split: {rule: list}"),
        "datasets.own.split.train_list is null; give a file of image ids, one a line, as the rule is list\n"
        "datasets.own.split.val_list is null; give a file of image ids, one a line, as the rule is list\n"
        "datasets.own.split.test_list is null; give a file of image ids, one a line, as the rule is list",
    ),
    "list missing": (
        FOLDER.replace("OWN", "table: t.csv, split: {rule: list, train_list: a, val_list: b, test_list: a}"),
        'datasets.own.split.train_list is "a", which is no file; give a file of image ids, one a line\n'
        'datasets.own.split.val_list is "b", which is no file; give a file of image ids, one a line\n'
        'datasets.own.split.test_list is "a", which is no file; give a file of image ids, one a line',
    ),
    "lists without the rule": (
        FOLDER.replace("OWN", "table: t.csv, split: {train_list: a.txt}"),
        'datasets.own.split.train_list is "a.txt" and the rule is fraction; give rule: list, or leave the key out',
    ),
    "no official split": (
        LEAST.replace("{brain: }", "{wbc: {split: {rule: official}}}"),
        'datasets.wbc.split.rule is "official"; give fraction or list',
    ),
    "shares of one": (
        LEAST.replace("{brain: }", "{wbc: {split: {val: 0.5, test: 0.5}}}"),
        "datasets.wbc.split has val 0.5 and test 0.5; give shares that sum to less than 1",
    ),
    "groups without a table": (
        FOLDER.replace("OWN", "images: i, masks: m, split: {rule: group}"),
        "datasets.own.split.rule is group; give a table with the column group",
    ),
    "folder without masks": (
        FOLDER.replace("OWN", "images: i"),
        "datasets.own has images; give images and masks, or a table alone",
    ),
    "folder and table": (
        FOLDER.replace("OWN", "images: i, masks: m, table: t.csv"),
        "datasets.own has images and masks and table; give images and masks, or a table alone",
    ),
    "classes left out": (
        FOLDER.replace("classes: [a, b], OWN", "table: t.csv"),
        "datasets.own has no classes; give a list of 2 to 255 values, each a name of at most 100 "
        "characters on one line",
    ),
    "palette too short": (
        FOLDER.replace("OWN", "table: t.csv, palette: [[0, 0, 0]]"),
        "datasets.own.palette has 1 colours; give 2, one for each of classes",
    ),
    "colour of two classes": (
        FOLDER.replace("OWN", "table: t.csv, palette: [[0, 0, 0], [0, 0, 0]]"),
        "datasets.own.palette holds [0, 0, 0] twice; give each class its own colour",
    ),
    "too few values": (
        FOLDER.replace("OWN", "table: t.csv, values: [1, 2, 3]"),
        "datasets.own.values has 3 values; give 2, one for each of classes",
    ),
    "value of two classes": (
        FOLDER.replace("OWN", "table: t.csv, values: [1, [2, 1]]"),
        "datasets.own.values holds 1 twice; give each class its own value",
    ),
    "values and colours": (
        FOLDER.replace("OWN", "table: t.csv, values: [1, 2], palette: [[0, 0, 0], [1, 1, 1]]"),
        "datasets.own has values and palette; give values where masks hold values, a palette where they hold colours",
    ),
    "a value of a class to ignore": (
        FOLDER.replace("OWN", "table: t.csv, values: [1, 2], ignore: 2"),
        "datasets.own.ignore holds 2, which is a class; give another, null, or each class its own by values or palette",
    ),
    "a class to ignore": (
        FOLDER.replace("OWN", "table: t.csv, ignore: [255, 0]"),
        "datasets.own.ignore holds 0, which is a class; give another, null, or each class its own by values or palette",
    ),
    "a colour of a class to ignore": (
        FOLDER.replace("OWN", "table: t.csv, palette: [[0, 0, 0], [1, 1, 1]], ignore: [[9, 9, 9], [1, 1, 1]]"),
        "datasets.own.ignore holds [1, 1, 1], which is a class; give another, null, or each class its own by values or "
        "palette",
    ),
    "a grey to ignore without a palette": (
        FOLDER.replace("OWN", "table: t.csv, ignore: [255, 255, 255]"),
        "datasets.own.ignore holds 255 twice; give each value once, and a palette if a colour is meant",
    ),
    "a range upside down": (
        FOLDER.replace("OWN", "table: t.csv, range: [4095, 0]"),
        "datasets.own.range is [4095, 0]; give the darkest level first, and a brighter one",
    ),
    "a colour of no class": (
        FOLDER.replace("OWN", "table: t.csv") + "figures: {style: {colours: {c: '#000000'}}}\n",
        'figures.style.colours names "c"; classes known: a, b',
    ),
    "a colour of a class without a name": (
        FOLDER.replace("OWN", "table: t.csv") + "figures: {style: {colours: {'': '#000000'}}}\n",
        'figures.style.colours names ""; classes known: a, b',
    ),
    "half a range": (
        FOLDER.replace("OWN", "table: t.csv, range: 4095"),
        "datasets.own.range is 4095; give null or two numbers [low, high]",
    ),
    "a value of more than two bytes": (
        FOLDER.replace("OWN", "table: t.csv, values: [1, 65536]"),
        "datasets.own.values[1] is 65536; give a whole number from 0 to 65535 or a list of such",
    ),
    "a value to ignore among colours": (
        FOLDER.replace("OWN", "table: t.csv, palette: [[0, 0, 0], [1, 1, 1]], ignore: 7"),
        "datasets.own.ignore is 7, and palette says that masks hold colours; give a colour, a list of colours, or null",
    ),
    "values to ignore among colours": (
        FOLDER.replace("OWN", "table: t.csv, palette: [[0, 0, 0], [1, 1, 1]], ignore: [7, 255]"),
        "datasets.own.ignore is [7, 255], and palette says that masks hold colours; give a colour, a list of "
        "colours, or null",
    ),
    "a colour to ignore among values": (
        FOLDER.replace("OWN", "table: t.csv, ignore: [[1, 2, 3]]"),
        "datasets.own.ignore is [[1, 2, 3]], a colour, and palette is null; give a mask value, a list of values, null, "
        "or the palette",
    ),
    "unknown model of a penalty": (
        TWO.replace("PEN", "l1: {models: [unit]}"),
        'penalties.l1.models holds "unit"; did you mean "unet" (models known: convnet, unet)?',
    ),
    "no model of a penalty": (
        TWO.replace("PEN", "l1: {models: []}"),
        "penalties.l1.models is []; give null or a list of 1 or more values, each the name of a model",
    ),
    "normalised weights of the convnet": (
        TWO.replace("PEN", "l1: {weights: normalised}"),
        "penalties.l1.weights is normalised and model convnet has no normalisation layer; "
        "give models: with the names of those that have one",
    ),
    "no proximal step": (
        TWO.replace("PEN", "hoyer: {realisation: proximal}"),
        'penalties.hoyer.realisation is "proximal"; give subgradient',
    ),
    "no subgradient": (
        TWO.replace("PEN", "l0: {realisation: subgradient}"),
        'penalties.l0.realisation is "subgradient"; give proximal',
    ),
    "not decoupled": (
        TWO.replace("PEN", "l1: {realisation: decoupled}"),
        'penalties.l1.realisation is "decoupled"; give proximal or subgradient',
    ),
    "a realisation in a list that is none of the kind's": (
        TWO.replace("PEN", "l1: {realisation: [proximal, decoupled]}"),
        'penalties.l1.realisation[1] is "decoupled"; give proximal or subgradient',
    ),
    "realisation twice": (
        TWO.replace("PEN", "l1: {realisation: [proximal, proximal]}"),
        'penalties.l1.realisation is ["proximal", "proximal"]; give one value or more, each once',
    ),
    "no realisation": (
        TWO.replace("PEN", "l1: {realisation: []}"),
        "penalties.l1.realisation is []; give one value or more, each once",
    ),
    "a realisation's name that is taken": (
        TWO.replace("PEN", "l1: {realisation: [proximal, subgradient]}, l1-subgradient: {kind: l2}"),
        "penalties.l1.realisation makes a second entry l1-subgradient; rename one of them",
    ),
    "realisations of no kind": (
        TWO.replace("PEN", "sparse: {realisation: [proximal, subgradient]}"),
        "penalties.sparse needs a kind, as its name is none; kinds known: none, l2, l1, elastic_net, soft, smooth_l1, "
        "berhu, group_lasso, sparse_group_lasso, l0, mcp, hoyer, weight_decay, adamw, decoupled_decay, l2_sp, "
        "dropout, label_smoothing, pruning, small_dense",
    ),
    "realisation of a control": (
        TWO.replace("PEN", "dropout: {realisation: proximal}"),
        "unknown key penalties.dropout.realisation; keys known: kind, lambda, weights, models, training, check",
    ),
    "class weights that nothing takes": (
        LEAST + "training: {objective: {kind: dice, class_weights: inverse_frequency}}\n",
        "training.objective.class_weights is inverse_frequency and kind dice; give kind cross_entropy or focal or "
        "cross_entropy_dice or focal_dice, or leave class_weights out",
    ),
    "class weights of one model that nothing takes": (
        SMP.replace("MODEL", "training: {objective: {kind: smooth_l1, class_weights: median_frequency}}"),
        "models.u.training.objective.class_weights is median_frequency and kind smooth_l1; give kind cross_entropy or "
        "focal or cross_entropy_dice or focal_dice, or leave class_weights out",
    ),
    "unknown class weights": (
        LEAST + "training: {objective: {class_weights: inverse}}\n",
        'training.objective.class_weights is "inverse"; give null or inverse_frequency or median_frequency',
    ),
    "labels that are not smoothed": (
        TWO.replace("PEN", "label_smoothing: ") + "training: {objective: {kind: focal}}\n",
        "penalties.label_smoothing smooths labels and the objective of model convnet is focal; give models: with the "
        "names of others, or objective kind cross_entropy or cross_entropy_dice or squared_error or smooth_l1",
    ),
    "all channels dropped": (
        TWO.replace("PEN", "dropout: {lambda: [0.1, 1]}"),
        "penalties.dropout.lambda[1] is 1; give a number above 0 and below 1",
    ),
    "pruning after training": (
        TWO.replace("PEN", "pruning: {between: [0.5, 1]}"),
        "penalties.pruning.between[1] is 1; give a number of at least 0 and below 1",
    ),
    "pruning that ends before it begins": (
        TWO.replace("PEN", "pruning: {between: [0.75, 0.25]}"),
        "penalties.pruning.between is [0.75, 0.25]; give the smaller share first",
    ),
    "a penalty's training that is no update rule": (
        TWO.replace("PEN", "l1: {training: {batch_size: 3}}"),
        "unknown key penalties.l1.training.batch_size; "
        "keys known: epochs, optimizer, lr, momentum, betas, schedule, warmup_epochs, average",
    ),
    "a penalty's learning rate": (
        TWO.replace("PEN", "l1: {training: {lr: 0}}"),
        "penalties.l1.training.lr is 0; give a number above 0 and at most 1000 or a list of 1 to 100 "
        "values, each a number above 0 and at most 1000",
    ),
    "a penalty's warm-up longer than training": (
        TWO.replace("PEN", "l1: {training: {warmup_epochs: 3.5}}") + "training: {epochs: 3}\n",
        "penalties.l1.training.warmup_epochs is 3.5; give at most the 3 epochs of training",
    ),
    "an unknown corruption": (
        LEAST + "evaluation: {corruptions: [fog]}\n",
        'evaluation.corruptions[0] is "fog"; give noise or blur or contrast or brightness or jpeg',
    ),
    "a severity above five": (
        LEAST + "evaluation: {severities: [1, 6]}\n",
        "evaluation.severities[1] is 6; give a whole number from 1 to 5",
    ),
    "a colour by its name": (
        LEAST + "figures: {style: {palette: [red]}}\n",
        'figures.style.palette[0] is "red"; give a colour as #rrggbb',
    ),
    "an order of penalties that are not there": (
        LEAST + "figures: {style: {order: [none, l3]}}\n",
        'figures.style.order[1] is "l3", which is no entry of penalties; give some of none',
    ),
    "a name for nothing": (
        LEAST + "figures: {style: {names: {l3: L3}}}\n",
        'figures.style.names has "l3", which is no entry of datasets, models or penalties; '
        "give the name that the study uses",
    ),
    "a rope of nothing": (
        LEAST + "statistics: {rope: 0}\n",
        "statistics.rope is 0; give a number above 0 and at most 100",
    ),
    "a name that ends a line": (
        LEAST.replace("brain: ", '"wbc\\n": '),
        'datasets has an entry named "wbc\\n"; give a name of at most 60 letters, digits, - and _ that starts with a '
        "letter or digit; con, nul and the like name devices",
    ),
    "a name of a device": (
        LEAST.replace("convnet: ", "Con: {kind: convnet}"),
        'models has an entry named "Con"; give a name of at most 60 letters, digits, - and _ that starts with a letter '
        "or digit; con, nul and the like name devices",
    ),
    "a name too long for a file": (
        LEAST.replace("convnet: ", f"{'m' * 100}: {{kind: convnet}}"),
        f'models has an entry named "{"m" * 76}...; give a name of at most 60 letters, digits, - and _ that starts '
        "with a letter or digit; con, nul and the like name devices",
    ),
    "names that differ in case alone": (
        TWO.replace("PEN", "l1: , L1: {kind: l1}"),
        "penalties has l1 and L1, which some disks take for one folder; rename one of them",
    ),
    "figures of one name": (
        "datasets: {a: {kind: wbc}, a-b: {kind: wbc}}\nmodels: {c: {kind: convnet}, b-c: {kind: convnet}}\n"
        "penalties: {none: }\n",
        "the figures of data set a with model b-c would have the names of those of a-b with c; rename one of them",
    ),
    "5000 λ": (
        TWO.replace("PEN", f"l1: {{lambda: [{', '.join(map(str, range(5000)))}]}}"),
        "penalties.l1.lambda is [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21...; "
        "give a list of 1 to 1000 values, each a number from 0 to 1000000",
    ),
    "more networks than can be trained": (
        TWO.replace("PEN", f"l1: {{lambda: {list(range(1000))}}}")
        + f"seeds: {{tuning: {list(range(200))}, evaluation: [500]}}\n",
        "400,404 networks are to be trained, 400,002 of them for penalties.l1; give fewer λ, learning rates, seeds, "
        "folds or entries, for at most 200,000",
    ),
    "more entries than can be trained": (
        LEAST.replace(
            "none: ", ", ".join(f"l{n}: {{kind: l1, realisation: [proximal, subgradient]}}" for n in range(300))
        ),
        "penalties has 600 entries, one for each realisation; give at most 500",
    ),
    "zoom to nothing": (
        LEAST + "training: {augmentation: {scale: [1e-300, 1]}}\n",
        "training.augmentation.scale[0] is 1e-300; give a number from 0.05 to 20",
    ),
    "a penalty whose slope no number holds": (
        TWO.replace("PEN", "smooth_l1: {beta: 1e-320}"),
        "penalties.smooth_l1.beta is 1e-320; give a number from 1e-06 to 1000000",
    ),
    "a password in a study": (
        LEAST + "mirrors: [/data, https://me:secret@example.org]\n",
        "mirrors[1] carries a password, which results would show; give an open address",
    ),
    "a password in a study of another fault": (
        LEAST + "mirrors: https://me:secret@example.org\n",
        'mirrors is "https://…@example.org"; give a list of 0 or more values, each a folder or an address',
    ),
    "a class on two lines": (
        FOLDER.replace("[a, b], OWN", '[a, "b\\nc"], table: t.csv'),
        'datasets.own.classes[1] is "b\\nc"; give a name of at most 100 characters on one line',
    ),
    "octal epochs": (
        LEAST + "training: {epochs: 010}\n",
        'training.epochs is "010"; give a whole number from 1 to 100000',
    ),
    "λ in a spelling of Python's": (
        TWO.replace("PEN", 'l1: {lambda: ["1_000"]}'),
        'penalties.l1.lambda[0] is "1_000"; give a number from 0 to 1000000',
    ),
    "a time of day as minutes": (
        LEAST + "resources: {runtime: 1:30}\n",
        'resources.runtime is "1:30"; give a whole number from 1 to 525600',
    ),
    "empty": ("# nothing\n", "is empty; give at least datasets, models and penalties"),
    "no block": ("- brain\n", 'holds ["brain"]; give a block of keys with datasets, models and penalties'),
    "a name twice": (
        LEAST + "name: a\nname: b\n",
        "line 5, column 1: the key name stands twice in one block; keep one",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_fault_of_a_wrong_study_is_told_in_a_sentence(case, load):
    text, sentences = WRONG[case]
    with pytest.raises(UserError) as caught:
        load(text)
    assert str(caught.value).splitlines() == [f"study.yaml: {sentence}" for sentence in sentences.splitlines()]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        # What the schema does not allow, in whatever section.
        (
            "datasets: {wbc: {siz: 1}}\nmodels: {convnet: {drop: 1}, net: }\npenalties: {l1: {lambda: [-1], a: 2}}\n"
            "trainings: {}\ntraining: {epochs: 0, lr: x, epoch: 1, steps: 2}\nevaluation: {folds: 3}\n",
            [
                *("trainings", "training.epoch", "training.steps", "training.epochs", "training.lr"),
                *("datasets.wbc-fold0.siz", "models.convnet.drop", "models.net", "penalties.l1.a"),
                "penalties.l1.lambda[0]",
            ],
        ),
        # Where the number of outer folds cannot be told, data sets are looked at as a whole.
        (
            "datasets: {wbc: {siz: 1}}\nmodels: {}\nevaluation: {folds: x}\n",
            ["the study", "models", "evaluation.folds", "datasets.wbc.siz"],
        ),
        # What no schema tells.
        (
            "datasets: {wbc: {split: {val: 0.5, test: 0.5}}}\nmodels: {u: {kind: smp, architecture: v}, convnet: }\n"
            "penalties: {none: , l1: {models: [w]}, adamw: {models: [convnet]}}\ntraining: {crop: 30}\n"
            "seeds: {tuning: [0], evaluation: [0], fewer: {l3: 1}}\nstatistics: {looks: [12, 6]}\n",
            [
                *("seeds.evaluation", "seeds.fewer", "statistics.looks", "datasets.wbc.split"),
                *("models.u.architecture", "training.crop", "penalties.l1.models", "penalties.adamw"),
            ],
        ),
    ],
)
def test_all_faults_are_told_at_once(text, keys, load):
    with pytest.raises(UserError) as caught:
        load(text)
    for line, key in zip(str(caught.value).splitlines(), keys, strict=True):
        assert re.match(rf"study\.yaml: (unknown key )?{re.escape(key)}[ ;]", line)


def test_bad_syntax_is_told_with_its_place(load):
    with pytest.raises(UserError, match=r"^study.yaml: line 5, column 1: .*; correct the YAML there$"):
        load(LEAST + "training: {epochs: 3\n")


def test_a_file_name_that_cannot_name_a_folder(load):
    with pytest.raises(
        UserError, match=r'my study.yaml: the file\'s name "my study" cannot name .*; give name: a name'
    ):
        load(LEAST, "my study.yaml")
    assert load(LEAST + "name: mine\n", "my study.yaml").name == "mine"


def test_a_missing_file_names_those_that_are_there(load):
    load(LEAST, "mine.yaml")
    with pytest.raises(UserError, match=re.escape("there.yaml: no such file; the studies in . are mine.yaml")):
        load_study(Path("there.yaml"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda file: file.mkdir(), "is a folder or a device; give the YAML file of a study"),
        (os.mkfifo, "is a folder or a device"),
        (lambda file: file.symlink_to("/dev/zero"), "is a folder or a device"),
        (lambda file: socket.socket(socket.AF_UNIX).bind(str(file)), "is a folder or a device"),
        (lambda file: file.symlink_to(file), "cannot be read (Too many levels of symbolic links); give the YAML file"),
        (lambda file: file.touch(), "is empty; give at least datasets, models and penalties"),
        (lambda file: file.write_bytes(b"\x89PNG\xff\xfe"), "is not a text in UTF-8"),
        (lambda file: file.write_text(LEAST, encoding="utf-16"), "is not a text in UTF-8"),
        (lambda file: file.write_bytes(bytes(100)), "is not YAML"),
        (lambda file: file.open("wb").truncate(1 << 30), "holds more than 1,000,000 bytes; give the YAML file"),
    ],
    ids=["folder", "fifo", "zero", "socket", "loop", "empty", "binary", "utf-16", "zeros", "gigabyte"],
)
def test_what_is_no_text_file_is_refused_at_once(make, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(Path("study.yaml"))
    with pytest.raises(UserError, match=rf"^study\.yaml: {re.escape(sentence)}"):
        load_study(Path("study.yaml"))


def test_a_byte_order_mark_is_no_part_of_the_study(load):
    assert load("\ufeff" + LEAST).name == "study"


@pytest.mark.parametrize(
    "model",
    [
        "encoder: tu-tf_efficientnet_lite0, weights: lite0",
        "encoder: tu-convnext_tiny.fb_in1k, architecture: upernet, weights: hub",
        "encoder: mit_b0, architecture: segformer",
        "architecture: deeplabv3plus, training: {crop: 48}",
        "architecture: pspnet, training: {crop: 24}",
        "architecture: fpn, options: {decoder_dropout: 0, decoder_merge_policy: cat}",
    ],
)
def test_combinations_that_the_library_takes_pass(model, load):
    assert load(SMP.replace("MODEL", model)).models["u"]["kind"] == "smp"


def test_the_convnets_stride_is_that_of_the_network():
    from softreg.networks import convnet

    assert stride_of({"kind": "convnet"}) == convnet.STRIDE


# config.yaml is Snakemake's, and names a study.
STUDIES = [file for file in sorted(Path(__file__).parents[2].glob("config/*.yaml")) if file.stem != "config"]


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_the_projects_studies_load(file):
    study = load_study(file)
    assert study.name == file.stem
    assert count_cells(study) > 0
    assert file.read_text().startswith("# ")


def test_every_kind_of_model_and_penalty_has_its_module():
    from softreg.study.schema import study_schema

    package = Path(__file__).parents[2] / "src" / "softreg"
    folders = {"dataset": "data/datasets", "model": "networks", "penalty": "penalties"}
    for definition in study_schema()["$defs"]:
        family, _, kind = definition.partition("_")
        if family in folders:
            has_one = (package / folders[family] / f"{kind}.py").is_file()
            assert has_one == (family != "penalty" or kind not in CONTROLS), definition


def test_torch_is_not_imported():
    program = (
        "import sys; from pathlib import Path; from softreg.study import config, matrix; "
        "config.load_study(Path('config/wbc.yaml')); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'segmentation_models_pytorch')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_a_study_of_ten_thousand_cells_loads_at_once(load):
    study = {
        "datasets": {f"shapes{k}": {"kind": "shapes", "seed": k} for k in range(10)},
        "models": {f"unet{k}": {"kind": "smp", "training": {"lr": 0.1 / (k + 1)}} for k in range(10)},
        "penalties": {f"l1-{k}": {"kind": "l1", "lambda": [10.0**-e for e in range(1, 9)]} for k in range(5)},
        "seeds": {"tuning": [0, 1], "evaluation": list(range(100, 110))},
    }
    text = yaml.safe_dump(study)
    load(LEAST)
    start = time.process_time()
    assert count_cells(load(text)) > 10_000
    assert time.process_time() - start < 1


FOLDED = LEAST.replace("brain: ", "wbc: ") + "evaluation: {folds: 5}\n"


def test_outer_folds_are_data_sets_of_their_own(load):
    study = load(FOLDED.replace("wbc: ", "wbc: {split: {val: 0.2}}, cells: {kind: wbc}"))
    assert list(study.datasets) == [f"{name}-fold{fold}" for name in ("wbc", "cells") for fold in range(5)]
    assert study.datasets["wbc-fold3"] == study.datasets["wbc-fold0"] | {
        "split": study.datasets["wbc-fold0"]["split"] | {"fold": [3, 5]}
    }
    assert study.datasets["wbc-fold3"]["split"]["val"] == 0.2
    joined = folds.joined(study.datasets)
    assert list(joined) == ["wbc", "cells"]
    assert joined["cells"] == load(LEAST.replace("brain: ", "cells: {kind: wbc}")).datasets["cells"]
    assert folds.place_of(study.datasets, "cells-fold4") == ("cells", 4)


def test_a_study_of_outer_folds_is_the_same_when_read_back(load):
    study = load(FOLDED)
    for datasets in (study.datasets, folds.joined(study.datasets)):
        again = load(json.dumps(study.to_dict() | {"datasets": datasets}))
        assert again.to_dict() == study.to_dict()


def test_the_order_of_learning_rates_does_not_matter(load):
    texts = [LEAST.replace("none: ", f"none: {{training: {{lr: {rates}}}}}") for rates in ([0.1, 0.01], [0.01, 0.1])]
    one, other = map(load, texts)
    assert one.to_dict() == other.to_dict()


def test_outer_folds_multiply_the_cells(load):
    text = LEAST.replace("brain: ", "wbc: ").replace("none: ", "none: , l1: {lambda: [1, 2]}")
    assert count_cells(load(text + "evaluation: {folds: 3}\n")) == 3 * count_cells(load(text))


def test_a_data_set_of_outer_folds_can_be_named(load):
    study = load(FOLDED + "figures: {style: {names: {wbc: White blood cells}}}\n")
    assert study.figures["style"]["names"] == {"wbc": "White blood cells"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (FOLDED.replace("wbc", "camvid"), r"datasets\.camvid-fold0\.split\.rule is official, and outer folds .* draw"),
        (FOLDED.replace("5", "1"), r"evaluation\.folds is 1; give null or a whole number from 2 to 100"),
        (
            FOLDED + "selection: {scorer: kfold}\n",
            r"selection\.scorer is kfold and evaluation\.folds 5; give scorer: hold",
        ),
        (
            FOLDED.replace("wbc: ", "wbc: {split: {val: 0.8}}"),
            r"val is 0\.8 and a fold tests 1/5; give a share below 0\.8",
        ),
        (FOLDED.replace("wbc: ", "wbc: , wbc-fold1: {kind: wbc}"), r"makes a second entry datasets\.wbc-fold1; rename"),
        (LEAST.replace("brain: ", "wbc: {split: {fold: [5, 5]}}"), r"split\.fold is \[5, 5\]; leave it out"),
        (LEAST + "statistics: {looks: [12, 6]}", r"looks is \[12, 6\]; give rising numbers of seeds, \[6, 12\]"),
        (LEAST + "statistics: {looks: [3, 6]}", r"statistics\.looks\[0\] is 3; give a whole number of 5 to 1000 seeds"),
        (LEAST + "statistics: {looks: [6, 6]}", r"statistics\.looks holds 6 twice; give each value once"),
        (LEAST + "seeds: {fewer: {l3: 2}}", r'seeds\.fewer names "?l3"?; .*entries of penalties'),
        (LEAST + "seeds: {fewer: {none: 6}}", r"fewer\.none is 6; give at most 5, as many as seeds\.evaluation has"),
    ],
)
def test_folds_looks_and_seeds_that_cannot_be(load, text, problem):
    with pytest.raises(UserError, match=problem):
        load(text)


def test_a_long_list_with_one_value_twice_is_told_at_once(load):
    seeds = [*range(19_000), "x", 7]
    start = time.process_time()
    with pytest.raises(UserError, match=r"seeds\.tuning"):
        load(LEAST + f"seeds: {{tuning: {seeds}}}\n")
    assert time.process_time() - start < 2


def test_a_title_is_one_line(load):
    assert load(LEAST + "title: >\n  Two lines\n  of a title\n").title == "Two lines of a title"
