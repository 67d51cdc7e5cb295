# Two commands are enough: `make run` shows the program at work, `make test` proves it. Both work on a fresh machine.
.DEFAULT_GOAL := help
.PHONY: help run test check lint types fast bench clean
SHELL := /bin/sh
VENV  := .venv
BIN   := $(VENV)/bin
CODE  := filters gateway registry bench tests

help:
	@echo 'make run     make the virtual environment, install, and run the demonstration'
	@echo 'make test    install what the tests need and run all of them'
	@echo 'make check   lint, types and the fast tests, under a minute'
	@echo 'make bench   the comparison tables (BENCH="--quick" for a short run)'
	@echo 'make clean   remove what the others made'

# The stamps stand inside the environment, so that removing it removes them too.
$(VENV)/.installed: pyproject.toml scripts/bootstrap.sh
	@sh scripts/bootstrap.sh run

$(VENV)/.installed-dev: pyproject.toml scripts/bootstrap.sh
	@sh scripts/bootstrap.sh dev

run: $(VENV)/.installed
	@$(BIN)/izinli demo

test: $(VENV)/.installed-dev
	@sh scripts/programs.sh test
	@sh scripts/tests.sh

check: lint types fast

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

types: $(VENV)/.installed-dev
	@$(BIN)/mypy --strict

fast: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m 'not slow and not interop'

bench: $(VENV)/.installed-dev
	@sh scripts/programs.sh bench
	@$(BIN)/python -m bench.run $(BENCH)

clean:
	rm -rf $(VENV) build dist izinli.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
