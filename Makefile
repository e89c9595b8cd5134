# `make demo` runs the main job, `make test` everything that must hold; both set themselves up in .venv on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Some machines switch it off, and every process then compiles all modules anew: a second of CPU each.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check fast fuzz oracle schemas bench matrix run-tests mutants validators calibration notebooks clean

demo: $(VENV)/.installed
	$(BIN)/planner plan llama-3.1-70b hgx-h100 --weights fp8 --batch 8 --prompt 1024 --output 256
	$(BIN)/planner compare llama-3.1-70b hgx-h100 groq-lpu-chain cerebras-cs3:4 --weights fp8 --batch 8

test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal --heaviest 10 --nbmake --nbmake-timeout=3600 tests notebooks

check: $(VENV)/.installed
	$(BIN)/ruff check planner tests benchmarks spread_planner.py hatch_build.py
	$(BIN)/ruff format --check planner tests benchmarks spread_planner.py hatch_build.py
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fast: $(VENV)/.installed
	$(BIN)/python -m pytest -p no:nbmake -n 2 --dist worksteal -x -q -m "not slow" tests

# Not in CI: all cases of which `make test` asks some: the files that take `EVERYTHING`, `paired`,
# `some` or `spread` from tests/lanes.py.
oracle: $(VENV)/.installed
	PLANNER_ORACLE=1 $(BIN)/python -m pytest -p no:nbmake -n 2 --dist worksteal -q \
		$$(grep -lrE --include='test_*.py' 'lanes import.*(EVERYTHING|paired|some|spread)' tests)

# Not in CI: many more files that were tampered with than `make test` tries, from a seed it tells.
fuzz: $(VENV)/.installed
	$(BIN)/python -m tests.fuzz

schemas: $(VENV)/.installed
	$(BIN)/python -c "from planner.schemas import write_schemas; write_schemas()"

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

# Not in CI: the tests on every interpreter from 3.11 on that this machine has; the others are named.
matrix:
	$(PYTHON) -m benchmarks.matrix

# Not in CI: what runs plans on processes of this machine, with PyTorch in an environment of its own.
run-tests:
	$(PYTHON) -m venv .venv-run
	.venv-run/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,run]"
	.venv-run/bin/python -m pytest -p no:nbmake -q tests/running tests/cli/test_running.py

# Not in CI: small faults on purpose, and which of them the tests of the same room notice.
mutants: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[mutants]"
	$(BIN)/python -m benchmarks.mutants

# Not in CI: whether the engines' own parsers read what we write, in an environment of theirs (3 GB).
ENGINES ?= .venv-engines
PLANS ?= 500

validators: $(VENV)/.installed $(ENGINES)/.installed
	for engine in vllm sglang llama.cpp huggingface; do \
	  $(BIN)/python -m benchmarks.validators.plans $$engine $(PLANS) \
	  | HF_HUB_OFFLINE=1 VLLM_LOGGING_LEVEL=ERROR $(ENGINES)/bin/python benchmarks/validators/inside/$$(echo $$engine | tr . _)_reads.py || exit 1; \
	done

$(ENGINES)/.installed: benchmarks/validators/requirements.txt
	$(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/validators/requirements.txt
	touch $@

calibration: $(VENV)/.installed
	$(BIN)/planner calibrate --shipped --report CALIBRATION.md

notebooks: $(VENV)/.installed
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .venv-run .venv-3.* build dist .mypy_cache .ruff_cache .hypothesis .benchmarks
