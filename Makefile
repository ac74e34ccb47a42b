.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check release wheel calibrate bench-labkit bench-grading bench-quantization bench-pruning bench-distillation bench-site bench-footprint bench-stability
BIN := .venv/bin

help:           ## Print this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */\1\t/' | expand -t 14

setup:          ## Make .venv and install what is missing, system packages included
	@scripts/setup.sh

demo: setup     ## Release lab 3.1, grade sample submissions, write out/demo/index.html
	@$(BIN)/course demo

test: setup check ## The whole suite, as CI runs it
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-slow:      ## The tests that need large downloads, other servers or minutes
	@scripts/setup.sh slow
	@$(BIN)/python -m pytest -m slow

check: setup    ## Format, lint, types, and no drift between source/ and release/
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/course release --check

release: setup  ## Make release/ from source/
	@$(BIN)/course release

wheel: setup    ## Make the student's wheel in dist/, without reference and source
	@$(BIN)/python scripts/student_wheel.py

calibrate: setup ## Measure what the thresholds of lab 3.1 stand between
	@$(BIN)/course calibrate 3.1

bench-labkit: setup ## Measure what imports, data sets, baselines and attention cost
	@$(BIN)/python -m bench.labkit

bench-grading: setup ## Grade one class with course, nbgrader and otter, and compare
	@$(BIN)/python -m bench.grading

bench-quantization: setup ## Compare reference/quantization with the field's libraries
	@$(BIN)/python -m bench.quantization

bench-pruning: setup ## Prune the baselines, and compare reference/pruning with the field's libraries
	@$(BIN)/python -m bench.pruning

bench-distillation: setup ## Distil the baselines, beside the same steps without a teacher
	@$(BIN)/python -m bench.distillation

bench-site: setup ## Write and open the pages of 300 submissions in 12 labs; after make demo
	@$(BIN)/python -m bench.site

bench-footprint: setup ## What published models take in each storage, counted without weights
	@$(BIN)/python -m bench.footprint

bench-stability: setup ## Regrade one model a hundred times under load; an hour on two cores
	@$(BIN)/python -m bench.verdict_stability
