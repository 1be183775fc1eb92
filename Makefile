# `make` without a target lists the targets. Paths are relative, so that folders with spaces in their names work too.
PYTHON ?= python3
BIN := .venv/bin
FIRST := /lab/tree/notebooks/00_start_here.ipynb

help:
	@echo "make lab         open the series in JupyterLab (sets up .venv first)"
	@echo "make test        check everything: style, types, tests, every notebook's outputs"
	@echo "make test-all    also run the long tests, and test on each supported Python that is installed"
	@echo "make execute     run every notebook from top to bottom and write its outputs to the file"
	@echo "make bench       run the long measurements and write their results to benchmarks/"
	@echo "make pages       build web pages of the series, in pages/"
	@echo "make rehearse    before a class: run every notebook without a network, and list what is missing"
	@echo "make wheelhouse  download all packages to wheelhouse/, for machines without a network"

lab: .venv/.ready
	JUPYTER_CONFIG_PATH="tools/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	$(BIN)/python -m jupyterlab --allow-root --LabApp.default_url=$(FIRST) $(LAB)

test: .venv/.ready-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -n 6 --dist loadfile --no-loadscope-reorder -m "not long"
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder --nbval notebooks

test-all: test
	$(BIN)/python -m pytest -m long
	$(BIN)/python tools/test_all.py

execute: .venv/.ready-dev
	$(BIN)/python tools/execute.py

bench: .venv/.ready-dev
	$(BIN)/python -m benchmarks

# REPOSITORY=https://...: the target of links to source files. The default is [project.urls] in pyproject.toml.
pages: .venv/.ready-pages
	$(BIN)/python tools/pages.py $(if $(REPOSITORY),--repository "$(REPOSITORY)")

rehearse: .venv/.ready
	$(BIN)/python tools/rehearse.py

# FOR="linux macos windows": packages for these platforms. To install from the folder: make lab WHEELS=wheelhouse
wheelhouse:
	PYTHON="$(PYTHON)" sh tools/wheelhouse.sh wheelhouse $(FOR)

.venv/.ready: requirements.txt pyproject.toml
	PYTHON="$(PYTHON)" WHEELS="$(WHEELS)" LOCK="$(LOCK)" sh tools/install.sh requirements.txt
	@touch $@

.venv/.ready-pages: .venv/.ready requirements-pages.txt
	PYTHON="$(PYTHON)" WHEELS="$(WHEELS)" LOCK="$(LOCK)" sh tools/install.sh requirements-pages.txt
	@touch $@

.venv/.ready-dev: .venv/.ready requirements-dev.txt requirements-pages.txt
	PYTHON="$(PYTHON)" WHEELS="$(WHEELS)" LOCK="$(LOCK)" sh tools/install.sh requirements-dev.txt
	@touch $@

.PHONY: help lab test test-all execute bench pages rehearse wheelhouse
