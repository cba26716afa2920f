# Everything here sets itself up: a machine needs make and Python >= 3.11 (or uv), nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
PYTEST_ARGS ?=
ROWS ?= 5000000
# Tests wait for processes, servers and clocks a third of their time and more: four of them keep two cores busy.
JOBS ?= $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) * 2 )))
# Tests start some hundred silt processes: each would compile all of it again (0.2 s).
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help dev demo test test-s3 test-container test-spark lint format bench bench-living bench-changes readers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: ## the environment that developers and tests use, in .venv
	@scripts/venv .venv dev

demo: ## install what running needs in .venv-demo, then show silt at work
	@scripts/venv .venv-demo
	@.venv-demo/bin/silt demo

test: dev ## every test but the nightly ones (PYTEST_ARGS="-k name")
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

test-s3: dev ## an S3 that checks signatures, a careless one, Azure's emulator (go, npm; builds one, once)
	$(BIN)/pytest -m s3 --durations=0 -s tests/test_stores.py $(PYTEST_ARGS)

test-container: dev ## build the image with buildah and run it (needs root; apt installs buildah, debootstrap)
	@scripts/venv --alone .venv-container container
	$(BIN)/pytest -m container --durations=0 -s tests/test_container_image.py $(PYTEST_ARGS)

test-spark: dev ## real Apache Spark reads the tables, and writes to them too (java, mvn; 500 MB, once)
	@scripts/venv --alone .venv-spark spark
	$(BIN)/pytest -m spark --durations=0 tests/test_spark.py $(PYTEST_ARGS)

lint: dev ## ruff, mypy --strict, the layers; all of them, even when one finds something
	@failed=0; \
	for linter in "ruff check ." "ruff format --check ." mypy "mypy --config-file tests/mypy.ini" lint-imports; do \
	    echo "$$linter"; $(BIN)/$$linter || failed=1; \
	done; exit $$failed

format: dev ## rewrite the code as ruff wants it
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

readers: ## other engines that read Delta, in .venv-readers (tests use them where it exists)
	@scripts/venv --alone .venv-readers readers

bench: dev ## ratios against a C loop and against dlt (ROWS=5000000, BENCH_ARGS="--no-peers")
	$(if $(findstring --no-peers,$(BENCH_ARGS)),,@scripts/venv --alone .venv-bench bench)
	@scripts/venv .venv-demo
	$(BIN)/python -m tests.benchmarks --rows $(ROWS) $(BENCH_ARGS)

bench-living: dev ## what a running silt costs and how soon it follows (BENCH_ARGS="--check")
	@scripts/venv .venv-demo
	$(BIN)/python -m tests.benchmarks.living $(BENCH_ARGS)
	$(BIN)/python -m tests.benchmarks.commits $(BENCH_ARGS)

bench-changes: dev ## what merge, deletes and mirror cost (BENCH_ARGS="--rows 5000000 --check")
	$(BIN)/python -m tests.benchmarks.changes $(BENCH_ARGS)

clean: ## remove environments and caches
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
