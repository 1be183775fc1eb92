# `make` alone lists the targets. Paths are relative, so that a checkout in a folder with spaces works too.
PYTHON ?= python3
BIN := .venv/bin
FIRST := /lab/tree/notebooks/00_start_here.ipynb
OFFLINE := --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate
PAGES := --to html --template series --TemplateExporter.extra_template_basedirs=tools/templates

help:
	@echo "make lab         open the series in JupyterLab (sets up .venv first)"
	@echo "make test        check everything: style, types, tests, every notebook's outputs"
	@echo "make test-all    the long tests too, and all of it on each supported Python that is installed"
	@echo "make execute     run every notebook from top to bottom and write its outputs back"
	@echo "make bench       the long measurements, written to benchmarks/"
	@echo "make pages       the notebooks as web pages, in pages/"
	@echo "make rehearse    run every notebook once without a network, as a class would; what is missing"
	@echo "make wheelhouse  all that must be installed, in wheelhouse/, for machines without a network"

lab: .venv/.ready
	$(BIN)/python -m jupyterlab --allow-root --LabApp.default_url=$(FIRST) $(OFFLINE) $(LAB)

test: .venv/.ready-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -m "not long"
	$(BIN)/python -m pytest --nbval notebooks

test-all: test
	$(BIN)/python -m pytest -m long
	$(BIN)/python tools/test_all.py

execute: .venv/.ready-dev
	$(BIN)/python tools/execute.py

bench: .venv/.ready-dev
	$(BIN)/python -m benchmarks

pages: .venv/.ready-dev
	$(BIN)/python -m nbconvert $(PAGES) --output-dir pages notebooks/*.ipynb
	$(BIN)/python -m nbconvert $(PAGES) --output-dir pages/solutions notebooks/solutions/*.ipynb

rehearse: .venv/.ready
	$(BIN)/python tools/rehearse.py

# FOR="linux macos windows": for those machines too. From there on: make lab WHEELS=wheelhouse
wheelhouse:
	PYTHON="$(PYTHON)" sh tools/wheelhouse.sh wheelhouse $(FOR)

.venv/.ready: requirements.txt pyproject.toml
	PYTHON="$(PYTHON)" WHEELS="$(WHEELS)" LOCK="$(LOCK)" sh tools/install.sh requirements.txt
	@touch $@

.venv/.ready-dev: .venv/.ready requirements-dev.txt
	PYTHON="$(PYTHON)" WHEELS="$(WHEELS)" LOCK="$(LOCK)" sh tools/install.sh requirements-dev.txt
	@touch $@

.PHONY: help lab test test-all execute bench pages rehearse wheelhouse
