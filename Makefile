# `make demo` runs the main job, `make test` everything that must hold; both set themselves up in .venv on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Some machines switch it off, and every process then compiles all modules anew: a second of CPU each.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check docs fast fuzz kills oracle schemas bench matrix run-tests engines-run mutants validators calibration notebooks clean

demo: $(VENV)/.installed
	$(BIN)/planner plan llama-3.1-70b hgx-h100 --weights fp8 --batch 8 --prompt 1024 --output 256
	$(BIN)/planner compare llama-3.1-70b hgx-h100 groq-lpu-chain cerebras-cs3:4 --weights fp8 --batch 8

test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal --heaviest 25 --nbmake --nbmake-timeout=3600 notebooks tests

check: $(VENV)/.installed
	$(BIN)/ruff check planner tests benchmarks spread_planner.py hatch_build.py docs/conf.py docs/extensions
	$(BIN)/ruff format --check planner tests benchmarks spread_planner.py hatch_build.py docs/conf.py docs/extensions
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The site, in docs/_build/html. A warning is an error, as in tests/test_site.py, which builds it too.
docs: $(VENV)/.installed
	$(BIN)/python -m sphinx -W --keep-going -q -E -b html -c docs . docs/_build/html

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

# Not in CI: 10,000 cells through 20 kills, two sweeps into one file at once; the same table.
kills: $(VENV)/.installed
	$(BIN)/python -m benchmarks.sweeps --only-kills

schemas: $(VENV)/.installed
	$(BIN)/python -c "from planner.schemas import write_schemas; write_schemas()"

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

# Not in CI: the tests on every interpreter from 3.11 on that this machine has; the others are named.
matrix:
	$(PYTHON) -m benchmarks.matrix

# Not in CI: what runs plans on processes of this machine, with PyTorch in an environment of its own. Its build for CPUs will do:
# where pip knows of one (a folder of wheels, PIP_EXTRA_INDEX_URL), that is the one taken.
run-tests:
	$(PYTHON) -m venv .venv-run
	.venv-run/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-run/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,run]"
	.venv-run/bin/python -m pytest -p no:nbmake -q tests/running tests/cli/test_running.py tests/test_loop_page.py

# Not in CI: plans as they are exported, on a real llama.cpp beside what they were priced with. It is built
# here with its RPC servers (a C++ compiler, and a quarter of an hour of CPU); `LLAMA_BIN=FOLDER` takes
# the programs of another build.
LLAMA ?= .venv-llama
LLAMA_PACKAGE ?= llama-cpp-python==0.3.36
LLAMA_BIN ?= $(LLAMA)/build/bin

engines-run: $(VENV)/.installed $(if $(filter $(LLAMA)/build/bin,$(LLAMA_BIN)),$(LLAMA)/.built)
	$(BIN)/python -m benchmarks.engine_runs $(LLAMA_BIN) --package "$(LLAMA_PACKAGE)"

$(LLAMA)/.built:
	$(PYTHON) -m venv $(LLAMA)
	$(LLAMA)/bin/python -m pip install --quiet --disable-pip-version-check cmake ninja
	$(LLAMA)/bin/python -m pip download --quiet --no-deps --no-binary :all: --dest $(LLAMA) $(LLAMA_PACKAGE)
	mkdir -p $(LLAMA)/source
	tar -xzf $(LLAMA)/llama_cpp_python-*.tar.gz -C $(LLAMA)/source --strip-components 1
	PATH="$(abspath $(LLAMA))/bin:$$PATH" cmake -S $(LLAMA)/source/vendor/llama.cpp -B $(LLAMA)/build -G Ninja \
		-DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1 \
		-DGGML_RPC=ON -DGGML_LLAMAFILE=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF \
		-DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
	PATH="$(abspath $(LLAMA))/bin:$$PATH" cmake --build $(LLAMA)/build --target ggml-rpc-server llama-server -j 2
	touch $@

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
	$(BIN)/python docs/extensions/pictures.py

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .venv-run .venv-llama .venv-3.* build dist docs/_build .mypy_cache .ruff_cache .hypothesis .benchmarks
