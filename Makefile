# Each target is a thin call; the same works without make, see README.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
BIN = .venv/bin
unexport PYTHONDONTWRITEBYTECODE   # tests start hundreds of processes: none compiles again what another has compiled

.PHONY: demo lab hooks test test-slow test-all test-kills mutants bench docs export notebooks clean

demo: .venv/user
	@$(BIN)/domostats demo

lab: .venv/lab
	$(BIN)/domostats lab

hooks: .venv/dev   # notebooks are merged and compared cell by cell, and commits are checked
	git config merge.jupyternotebook.name "notebooks, cell by cell"
	git config merge.jupyternotebook.driver "$(BIN)/nbdev-merge %O %A %B %P"
	git config diff.jupyternotebook.command "$(BIN)/nbdev-diff-driver"
	$(BIN)/pre-commit install

test: .venv/dev
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: .venv/dev   # what is long, needs an environment of its own, or another Python
	$(BIN)/python -m pytest -n auto --dist worksteal -m "slow and not versions and not another_day"
	$(BIN)/python -m pytest -m versions --few

test-all: test test-slow   # and of the long tables what was not drawn for today
	$(BIN)/python -m pytest -n auto --dist worksteal -m another_day
	$(BIN)/python -m pytest -m versions

test-kills: .venv/dev   # twenty kills of each kind where test-slow has five; SEED=... for the same again
	KILLS=20 $(BIN)/python -m pytest -n auto --dist worksteal -m kills -rP

mutants: .venv/dev   # plant faults in the package, and see whether a test notices: SAMPLE=0 for all of them
	$(BIN)/python tools/mutants.py --sample $(or $(SAMPLE),40)

bench: .venv/bench   # side by side with the peers, and a soak of the budget: about twenty minutes
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/budget_soak.py

docs: .venv/docs   # the site, in docs/_build/html: one to two minutes, and seconds after a change
	$(BIN)/python tools/docs.py

export: .venv/dev   # notebooks to modules, in the form in which both are kept: a few seconds
	$(BIN)/ruff format --quiet nbs
	$(BIN)/nbdev-export
	$(BIN)/ruff format --quiet domostats

notebooks: .venv/dev   # export, run and clean every notebook, and what is made from them
	$(BIN)/python tools/notebooks.py

.venv/created:
	@test -n "$(PYTHON)" || { echo "domostats needs Python 3.11 or newer to set itself up; none was found. Name one: make PYTHON=/path/to/python $(MAKECMDGOALS)"; exit 1; }
	@echo "making an environment of its own: .venv"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/user: .venv/created pyproject.toml
	@$(BIN)/python tools/install.py sandbox
	@touch $@

.venv/lab: .venv/created pyproject.toml
	@$(BIN)/python tools/install.py notebook
	@touch $@ .venv/user

.venv/docs: .venv/created pyproject.toml
	@$(BIN)/python tools/install.py docs
	@touch $@ .venv/user .venv/lab

.venv/dev: .venv/created pyproject.toml
	@$(BIN)/python tools/install.py dev
	@touch $@ .venv/user .venv/lab .venv/docs

.venv/bench: .venv/created pyproject.toml
	@$(BIN)/python tools/install.py bench
	@touch $@ .venv/user

clean:
	rm -rf .venv .venv-bench docs/_build domostats.duckdb lessons
