# The one door: everything a person or CI does is a target here.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CODE := packages services model-container scenes scripts tests bench
FRAMES ?= 48
JOBS ?= 2

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# --- setting up ---------------------------------------------------------------------------------

.PHONY: setup
setup: $(INSTALLED) system ## Virtual environment, packages, LLVM where it may be installed

$(INSTALLED): requirements/uv.txt requirements/dev.txt $(wildcard packages/*/pyproject.toml services/*/pyproject.toml model-container/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	    { echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "Python's venv module is missing. Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@# Twice: uv 0.13.9 was seen to crash at its exit, when everything was installed already.
	install="$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt"; \
	    $$install || $$install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation \
	    -e packages/simcloud -e packages/simcloud-cli -e services/generator -e services/uploader \
	    -e services/inference-router -e model-container
	@touch $@

.PHONY: system
system:
	@scripts/install-system-packages

# --- using --------------------------------------------------------------------------------------

.PHONY: run
run: setup ## The main job: 48 labelled frames from scene to score, on this machine
	$(BIN)/simcloud run scenes/showroom/spec.yaml --frames $(FRAMES) --frames-per-shard 12

.PHONY: images
images: ## The container images, by docker compose
	@. ./.env && scripts/base-image $$BASE_IMAGE
	@# The authorities that this machine trusts, for package indexes behind an own one.
	@bundle=/etc/ssl/certs/ca-certificates.crt; test -e $$bundle || bundle=/dev/null; \
	    BUILD_CA_BUNDLE=$${BUILD_CA_BUNDLE:-$$bundle} DOCKER_BUILDKIT=1 \
	    docker compose --profile tools build

.PHONY: up
up: images ## The whole system under docker compose, on this machine
	@mkdir -p output
	docker compose up -d --no-build --wait

.PHONY: down
down: ## Stops what `make up` started; its data stay (docker compose down -v forgets them)
	docker compose down

.PHONY: clean
clean: ## Removes the demo's data and what tools have cached; keeps the virtual environment
	rm -rf .simcloud .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --- checking, in the order of speed and of likely failure ---------------------------------------

# In the order of names: the files that take minutes (e2e, fault) begin first and none is last alone.
.PHONY: test
test: setup ## Every test that needs no Docker, a file a process, JOBS of them at once
	$(BIN)/python -m pytest tests --ignore tests/docker --ignore tests/slurm -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: test-docker
test-docker: $(INSTALLED) ## The images and the compose stack; brings an engine where none runs
	scripts/test-docker

KILLS ?= 200

.PHONY: test-faults
test-faults: setup ## Kills, cuts and full disks; KILLS of them, where `make test` does with 60
	SIMCLOUD_KILLS=$(KILLS) $(BIN)/python -m pytest tests/fault

.PHONY: fuzz
fuzz: setup ## Ten minutes of malformed input
	SIMCLOUD_FUZZ_SECONDS=600 $(BIN)/python -m pytest tests/fuzz --timeout 0

.PHONY: conformance
conformance: setup ## Other people's clients, unmodified, in environments of their own
	$(BIN)/python -m pytest tests/conformance tests/conformance/*/check_*.py --timeout 600

.PHONY: test-slurm
test-slurm: $(INSTALLED) ## deploy/slurm on a real SLURM; root, Debian's slurm-wlm and munge
	$(BIN)/python -m pytest tests/slurm

.PHONY: test-unit
test-unit: $(INSTALLED) ## Unit tests alone: no sockets, no processes
	$(BIN)/python -m pytest tests/unit

.PHONY: check
check: $(INSTALLED) lint types imports protos pins workflows ## Format, lint, types, imports, contracts, pins, workflows

.PHONY: lint
lint: $(INSTALLED)
	$(BIN)/ruff format --check --quiet $(CODE)
	$(BIN)/ruff check --quiet $(CODE)

.PHONY: types
types: $(INSTALLED)
	$(BIN)/mypy $(CODE)

.PHONY: imports
imports: $(INSTALLED)
	$(BIN)/lint-imports --no-cache

.PHONY: protos
protos: $(INSTALLED)
	$(BIN)/buf lint proto
	$(BIN)/buf format --diff --exit-code proto
	scripts/generate-proto --check

.PHONY: pins
pins: $(INSTALLED)
	scripts/compile-requirements --check

.PHONY: workflows
workflows: $(INSTALLED)
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck -pyflakes=
	$(BIN)/zizmor --offline --quiet .github

.PHONY: lint-deploy
lint-deploy: $(INSTALLED) ## Dockerfiles, manifests, Terraform, workflows by hadolint and checkov; kubectl
	scripts/lint-deploy

.PHONY: docs-check
docs-check: $(INSTALLED)
	$(BIN)/python scripts/reference_docs.py --check

.PHONY: ci
ci: check docs-check test ## What CI runs

# --- measuring: on an idle machine; bench/README.md says how to read the ratios ---------------------

BENCHES := generator/frame_cost generator/first_picture generator/labels_agree generator/cycles_cost \
    generator/compositing generator/settling_cost generator/overlap generator/memory dataset/reading \
    uploader/throughput router/door_cost router/cpu_per_request router/batching router/saturation \
    router/overload router/added_latency

.PHONY: bench
bench: setup ## Benchmarks beside their peers: frames, labels, reading, uploads, requests; all, then which missed
	@missed=; for each in $(BENCHES); do \
	    echo "== $$each"; $(BIN)/python "bench/$$each.py" || missed="$$missed $$each"; \
	done; if [ -n "$$missed" ]; then echo "missed a bar, or failed:$$missed" >&2; exit 1; fi

# --- on a machine with an RT GPU ----------------------------------------------------------------

ISAAC_PYTHON ?= /isaac-sim/python.sh

.PHONY: isaac-smoke
isaac-smoke: ## Isaac Sim's labels beside the CPU's; docs/guides/isaac.md says what to look at
	PYTHONPATH="packages/simcloud/src:services/generator/src$${PYTHONPATH:+:$$PYTHONPATH}" \
	    $(ISAAC_PYTHON) -m simcloud_generator.backends.isaac.smoke scenes/showroom/spec.yaml

# --- remaking what is generated -----------------------------------------------------------------

.PHONY: fmt
fmt: $(INSTALLED) ## Formats the code and mends what can be mended
	$(BIN)/ruff check --fix --quiet $(CODE) || true
	$(BIN)/ruff format --quiet $(CODE)

.PHONY: proto
proto: $(INSTALLED) ## Generated code of proto/
	$(BIN)/buf format -w proto
	scripts/generate-proto

.PHONY: docs
docs: $(INSTALLED) ## Reference pages made from the code
	$(BIN)/python scripts/reference_docs.py

.PHONY: requirements
requirements: $(INSTALLED) ## Pins of requirements/, keeping what still fits
	scripts/compile-requirements

IMAGES ?= generator uploader inference-router model-container cli s3

.PHONY: sbom
sbom: $(INSTALLED) ## What is in the images that `make images` built, as CycloneDX, in sbom/
	$(BIN)/python scripts/sbom.py $(IMAGES)

# --- releasing ------------------------------------------------------------------------------------

.PHONY: dist
dist: $(INSTALLED) ## Wheels and source archives of our packages, in dist/
	rm -rf dist
	for package in packages/simcloud packages/simcloud-cli services/generator services/uploader \
	    services/inference-router model-container; do \
	    (cd $$package && $(CURDIR)/$(BIN)/hatchling build --directory $(CURDIR)/dist) || exit 1; done
