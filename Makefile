# make demo runs the whole job on the built-in corpus; make help lists the rest.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
DEV := .venv/installed-dev
PAGE := .venv/installed-page
CLUSTER := .venv/installed-cluster
DOCS := .venv/installed-docs

.PHONY: help demo page test slow lint docs package cluster clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-7s %s\n", $$1, $$2}'

$(STAMP): requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python {v[0]}.{v[1]} found, 3.11 to 3.13 needed: make $(MAKECMDGOALS) PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt -c constraints.txt
	@touch $@

$(DEV): $(STAMP) requirements-dev.txt requirements-page.txt requirements-tune.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt -c constraints.txt
	@touch $@

$(PAGE): $(STAMP) requirements-page.txt
	$(BIN)/python -m pip install --quiet -r requirements-page.txt -c constraints.txt
	@touch $@

$(CLUSTER): $(STAMP) requirements-cluster.txt
	$(BIN)/python -m pip install --quiet -r requirements-cluster.txt -c constraints.txt
	@touch $@

$(DOCS): $(STAMP) requirements-docs.txt
	$(BIN)/python -m pip install --quiet -r requirements-docs.txt -c constraints.txt
	@touch $@

demo: $(STAMP) ## pretrain, sweep three mixers, compare: toy corpus, offline, a minute
	@echo "Pretraining a small biLM on the built-in toy corpus (no real news, no download) ..."
	$(BIN)/python train_lm.py experiment=demo bilm=tiny
	@echo "Classifying on the frozen biLM with three mixers ..."
	$(BIN)/python train_cls.py experiment=demo mixer=trainable,frozen,learned -m
	@echo
	@echo "That was the toy corpus. Where to look next:"
	@echo "  make page                               look inside in the browser: words, layers, runs"
	@echo "  $(BIN)/tensorboard --logdir outputs     curves, lambdas, confusion matrices"
	@echo "  outputs/train_cls/*_sweep/sweep.md      the table above; one folder per job is beside it"
	@echo "  $(BIN)/python -m elmo report outputs     a report of these runs: report.pdf"
	@echo "  $(BIN)/python -m elmo predict \"Shares of the bank fell on Friday.\" --model latest --explain"
	@echo "  ... --model released                    answers with the model of real news, as without --model"
	@echo "  $(BIN)/python train_lm.py               the real thing: AG News (up to an hour on 2 cores)"
	@echo "  $(BIN)/python train_cls.py mixer=trainable,frozen,learned -m"

page: $(PAGE) ## look inside the latest models in the browser
	$(BIN)/python -m elmo page --model latest

test: $(DEV) ## the fast tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(DEV) $(CLUSTER) ## the slow tests
	$(BIN)/python -m pytest -m slow

package: $(DEV) ## build wheel and sdist, try the wheel in an empty environment
	.ci/check_package

lint: $(DEV) ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(DOCS) ## the documentation site: docs/_build/html/index.html
	$(BIN)/python -m sphinx -b html -W --keep-going -n -j auto -q docs docs/_build/html

cluster: $(CLUSTER) ## the launchers for sweeps over joblib, Slurm and Ray

clean: ## remove the environment and the caches; runs under outputs/ stay
	rm -rf .venv .cache docs/_build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
