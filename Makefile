# make demo: install, run the default study, say where the report is.   make test: install, run the tests.
# make paper: install, write tables, figures and report of each study that has scores here, published or not.
# make site: install, build the pages, the published reports and an API reference as a website.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= config/demo.yaml
SCORED = $(dir $(wildcard results/published/*/scores results/*/scores))
# Of each of the folders, as many at once as there are cores; then a command, in which {} is the folder.
papers = printf '%s\n' $(1) | xargs -r -P $$(nproc) -I{} sh -c '$(BIN)/softreg paper {} && $(2)'
REPORT = results/$(basename $(notdir $(STUDY)))/report.html

.PHONY: demo paper site test lint install

demo: install
	@$(BIN)/snakemake --quiet rules host --config study=$(STUDY)
	@echo "The report is in $(REPORT)"

paper: install
	@$(call papers,$(SCORED),echo {}report.html)

site: install
	@$(call papers,$(dir $(wildcard results/published/*/scores)),true)
	$(BIN)/mkdocs build --strict
	@echo "The site is in _site/index.html"

test: install
	$(BIN)/pytest --numprocesses auto

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

install: $(VENV)/installed

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "SoftReg needs Python 3.11 to 3.13; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@
