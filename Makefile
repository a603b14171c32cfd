# Set-up, service and tests of pointserve; needs python3 (3.10 or newer) and a C++ compiler.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# without setuptools' banner on editable installs; other warnings, such as of a failed compilation, are shown
PIP_INSTALL = PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install --quiet
LOCK := requirements.lock
LIBS := $(wildcard libs/*/pyproject.toml)
COMPILED := $(wildcard libs/*/setup.py)
LIB_SOURCES := $(wildcard libs/*/setup.py libs/common/* libs/*/csrc/*/*)
PYTEST_ARGS ?=
# more than cores, because servers under test are often waited for
TEST_WORKERS ?= 3
# a worker has tests that lie together, so that their servers are started once; who has none left takes over half of another's
SHARED := --dist worksteal
FAST_TESTS := tests/clouds tests/networks tests/pickles tests/pipeline tests/zoo tests/test_errors.py tests/test_options.py
CHROMIUM := $(firstword $(shell command -v chromium chromium-browser google-chrome google-chrome-stable))
NPM := $(shell command -v npm)

.PHONY: serve test test-fast test-slow dist page page-test viewer-test gpu-libs gpu-site gpu-test gpu-sanitize gpu-memcheck gpu-racecheck gpu-bench gpu-wheels gpu-network-bench gpu-serve-bench gpu-scaling-bench image-lint container-test demo fuzz lint lock verify docs clean

# the service on http://localhost:5001
serve: $(VENV)/.installed
	$(BIN)/pointserve serve

# style, types, import contract, tests; those of the page if there is a Chromium
test: lint
	$(BIN)/python -m pytest -n $(TEST_WORKERS) $(SHARED) $(PYTEST_ARGS)
	$(if $(CHROMIUM),$(MAKE) page-test,@echo "no Chromium: the tests of the page were left out")

# what a change breaks most often, in about a minute: without servers, commands and compilers
test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(TEST_WORKERS) $(SHARED) $(FAST_TESTS) $(PYTEST_ARGS)

# what seldom breaks and takes long: CUDA code compiled and emulated, sanitizers, damaged files
test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 $(SHARED) -m slow $(PYTEST_ARGS)

# the page in a browser; without the packages of node, axe and the comparison of built files with sources are left out
page-test: $(VENV)/.installed-dev
	$(if $(NPM),$(MAKE) viewer-test)
	$(BIN)/python -m pytest -n 2 $(SHARED) -m page tests/page

# types, style and unit tests of the page's sources; needs node
viewer-test: viewer/node_modules
	cd viewer && npm run --silent lint && npm test --silent

# the page's built files, from viewer/; needs node
page: viewer/node_modules
	cd viewer && npm run build

viewer/node_modules: viewer/package-lock.json
	cd viewer && npm ci --no-audit --no-fund
	touch $@

CXX_SOURCES = $(shell git ls-files '*.h' '*.cuh' '*.cpp' '*.cu')
lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

# On a machine with a GPU, by $(PYTHON), whose torch has CUDA. What else the service needs and such a machine may lack comes
# as wheels, fetched by gpu-wheels where there is a network, and goes into build/site. Without them the tests of operators
# run, those of networks are left out. TORCH_CUDA_ARCH_LIST=9.0 builds faster.
SPACE := $() $()
WHEELS := build/wheels
SITE := build/site
GPU_PYTHON = PYTHONPATH=$(subst $(SPACE),:,$(abspath . $(SITE) $(dir $(LIBS)))) $(PYTHON)

gpu-site:
	$(if $(wildcard $(WHEELS)/*.whl),$(PYTHON) -m pip install --quiet --no-index --no-deps --upgrade --target $(SITE) $(WHEELS)/*.whl,\
		@echo "no wheels in $(WHEELS): tests that need them are left out; make gpu-wheels fetches them")

# the operators with their CUDA code, compiled where their sources are
gpu-libs:
	set -e; for library in $(dir $(COMPILED)); do (cd $$library && FORCE_CUDA=1 $(PYTHON) setup.py -q build_ext --inplace); done

gpu-test: gpu-libs gpu-site
	$(GPU_PYTHON) -m pytest -m gpu tests/gpu $(PYTEST_ARGS)

# under the tools that find accesses out of bounds and races within a block, which is slow: by GPU_WORKERS processes
# (pytest-xdist; 12 and more for 16 cores were slower) and few voxels, without torch's own attention (fmha_cutlass), in which
# racecheck reports hazards
GPU_WORKERS := 8
UNDER = GPU_TEST_EXAMPLES=$(1) GPU_TEST_ROWS=$(2) PYTORCH_NO_CUDA_MEMORY_CACHING=1 OMP_NUM_THREADS=1 \
	compute-sanitizer --tool $(3) --error-exitcode 1 --target-processes all --kernel-name-exclude kns=fmha_cutlass \
	env $(GPU_PYTHON) -m pytest -n $(GPU_WORKERS) -m gpu

# a few tests, which run every kernel, under both, or a part of them: make gpu-sanitize TOOLS=racecheck SHARD=1/3
TOOLS := memcheck racecheck
SHARD := 1/1
SHARD_TESTS = awk '/^test/ && n++ % $(word 2,$(subst /, ,$(SHARD))) == $(word 1,$(subst /, ,$(SHARD))) - 1 { print "tests/gpu/" $$0 }'
gpu-sanitize: gpu-libs gpu-site
	set -e; for tool in $(TOOLS); do \
		$(SHARD_TESTS) tests/gpu/one_a_kernel.txt | xargs -d '\n' env $(call UNDER,1,300,$$tool) $(PYTEST_ARGS); done

# all tests of the operators with small clouds
SANITIZED := not large and not sizes3 and not many_voxels and not three_hundred and not many_points and not (ball_query and sizes2)
gpu-memcheck gpu-racecheck: gpu-%: gpu-libs gpu-site
	$(call UNDER,3,3000,$*) -k "$(SANITIZED)" \
		--ignore tests/gpu/test_networks_cuda.py --ignore tests/gpu/test_bundled_cuda.py --ignore tests/gpu/test_device_records_cuda.py \
		--ignore tests/gpu/test_answers_cuda.py tests/gpu $(PYTEST_ARGS)

gpu-bench: gpu-libs
	$(GPU_PYTHON) benchmarks/operators_gpu.py

WHEEL_PYTHON ?= 3.12
WHEEL_NAMES := annotated-doc annotated-types anyio apiflask apispec blinker certifi click dnspython email-validator flask flask-httpauth \
	flask-marshmallow fsspec gunicorn h11 httpcore2 hypothesis httpx2 idna itsdangerous laspy lazrs markdown-it-py marshmallow mdurl \
	orjson pydantic pydantic-core pydantic-settings pygments pyproj python-dotenv python-neo-lzf rich shellingham sortedcontainers \
	structlog truststore typer typing-inspection webargs
gpu-wheels: $(VENV)/.python
	rm -rf $(WHEELS)
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version $(WHEEL_PYTHON) \
		$(foreach glibc,35 34 31 28 27 24 17,--platform manylinux_2_$(glibc)_x86_64) --platform manylinux2014_x86_64 \
		--platform manylinux1_x86_64 --constraint $(LOCK) --dest $(WHEELS) $(WHEEL_NAMES)

# networks, and the service under load, on clouds of sizes never seen before; results also as files in the folder BENCH_OUT
BENCH_OUT = $(or $(OUT),benchmarks/results)
gpu-network-bench: gpu-libs
	$(GPU_PYTHON) benchmarks/networks_gpu.py --output $(BENCH_OUT) $(BENCH_ARGS)

gpu-serve-bench: gpu-libs gpu-site
	$(GPU_PYTHON) -m benchmarks.service --device cuda --output $(BENCH_OUT) $(BENCH_ARGS)

# the service and surveys on 1, 2, 4 … of the machine's GPUs
gpu-scaling-bench: gpu-libs gpu-site
	$(GPU_PYTHON) -m benchmarks.scaling --devices cuda --output $(BENCH_OUT) $(BENCH_ARGS)

# linters and schemas over Dockerfiles, scripts, compose, Kubernetes and environment.yml, by tools in a place of their own
IMAGE_LINTERS := .venv-image
image-lint: $(IMAGE_LINTERS)/.installed
	tests/image/lint.sh $(IMAGE_LINTERS)/bin

$(IMAGE_LINTERS)/.installed: tests/image/requirements.txt
	$(PYTHON) -m venv $(IMAGE_LINTERS)
	$(IMAGE_LINTERS)/bin/python -m pip install --quiet -r tests/image/requirements.txt
	touch $@

# the images, built and run by the docker engine that is here; CONTAINER_STANDINS: see tests/container/conftest.py
container-test: image-lint $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS) $(wildcard tests/container/*_image.py tests/container/*_sources.py)

# what a release holds: wheels of what is Python alone, source distributions of the operators, which are compiled beside their torch
dist: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/uv build --quiet --wheel --out-dir dist .
	$(BIN)/uv build --quiet --out-dir dist libs/pointserve_client
	set -e; for library in $(dir $(LIBS)); do test $$library = libs/pointserve_client/ || $(BIN)/uv build --quiet --sdist \
		--no-build-isolation --python $(BIN)/python --out-dir dist $$library; done

# a made-up tile, classified on the command line
demo: $(VENV)/.installed
	$(BIN)/pointserve sample demo.laz
	$(BIN)/pointserve predict demo.laz -o demo_classified.laz --score

verify: $(VENV)/.installed
	$(BIN)/pointserve verify tests/golden

# every reader under coverage-guided mutation, FUZZ_S seconds each; needs Python 3.11 or newer
FUZZ_S ?= 60
fuzz: $(VENV)/.installed-dev
	$(PIP_INSTALL) --constraint $(LOCK) --no-build-isolation -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz.readers --seconds $(FUZZ_S)

# the README's tables, printed from the code
docs: $(VENV)/.installed
	$(BIN)/python docs/tables.py

# the exact versions of every dependency, for Python 3.10 and newer
lock: $(VENV)/.installed-dev
	echo "torch==2.13.0" | $(BIN)/uv pip compile --universal --python-version 3.10 --upgrade --extra dev --extra e57 --extra fuzz \
		--constraint - --no-emit-package sparseops --no-emit-package pointops --no-emit-package pointgroup-ops \
		--no-emit-package pointserve-client \
		--no-annotate --custom-compile-command "make lock" \
		pyproject.toml -o $(LOCK)

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --upgrade pip setuptools wheel ninja
	touch $@

$(VENV)/.torch: $(VENV)/.python $(LOCK)
	$(PIP_INSTALL) --constraint $(LOCK) torch numpy
	touch $@

# ninja, which torch looks for among the programs, compiles on all cores
$(VENV)/.libs: $(VENV)/.torch $(LIBS) $(LIB_SOURCES)
	PATH=$(abspath $(BIN)):$$PATH $(PIP_INSTALL) --no-build-isolation --no-deps $(addprefix -e ,$(dir $(LIBS)))
	touch $@

$(VENV)/.installed: $(VENV)/.libs pyproject.toml
	$(PIP_INSTALL) --constraint $(LOCK) --no-build-isolation -e '.[e57]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.libs pyproject.toml
	$(PIP_INSTALL) --constraint $(LOCK) --no-build-isolation -e '.[dev,e57]'
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build *.egg-info libs/*/build libs/*/*.egg-info libs/*/*/*.so
