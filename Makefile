# Everything there is to run. `make` alone lists the targets.
#
# TORCH        the torch to install, before anything that depends on it      (default torch==2.13.0)
# TORCH_INDEX  further package index to take it from. Default: PyTorch's index of CPU builds on a machine without
#              an NVIDIA driver, where it can be reached; otherwise none, and pip's own configuration decides.
# JOBS         test processes side by side                                   (default: number of cores)
# PYTHON       the Python that makes .venv; 3.11 or newer

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
TORCH ?= torch==2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
VENV := .venv
# CHGNet and SevenNet; SevenNet needs another e3nn than MACE, so it cannot be installed in $(VENV).
VENV_BACKENDS := .venv-backends
BACKENDS := chgnet==0.4.2 sevenn==0.13.0
BIN := $(CURDIR)/$(VENV)/bin
PROFILE := mlip
FOUNDATION := mace-omat-0-small
# One process for each core; the tests of a file share what they computed, so they stay in one process.
JOBS ?= $(shell nproc)
# One slow test trains the real foundation model, where `make demo` has fetched it.
WEIGHTS = $(wildcard $(or $(AIIDA_MLIP_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/aiida-mlip)/foundation/$(FOUNDATION)/$(FOUNDATION).model)
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# The project's own AiiDA: its configuration and data are in .aiida here, and a user's ~/.aiida is never touched.
export AIIDA_PATH := $(CURDIR)
export PATH := $(BIN):$(PATH)
# On shared cores, idle OpenMP threads that spin cost more than they save.
export OMP_WAIT_POLICY ?= PASSIVE

# What `source .venv/bin/activate` does in addition, and `deactivate` takes back: AiiDA is that of the checkout.
ACTIVATE_BACK := /^deactivate *() *{/a \    if [ -n "$${_OLD_AIIDA_PATH+set}" ]; then AIIDA_PATH="$$_OLD_AIIDA_PATH"; \
    [ -n "$$AIIDA_PATH" ] || unset AIIDA_PATH; unset _OLD_AIIDA_PATH; fi
ACTIVATE := $$a _OLD_AIIDA_PATH="$${AIIDA_PATH-}"; export AIIDA_PATH="$(CURDIR)"
export ACTIVATE_BACK ACTIVATE

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: demo
demo: setup ## fine-tune a foundation model on tungsten, from nothing to the report
	aiida-mlip -p $(PROFILE) foundation install $(FOUNDATION)
	verdi -p $(PROFILE) run examples/finetune_w.py
	@echo "To look around: source $(VENV)/bin/activate; verdi process list -a"

.PHONY: setup
setup: install ## make the project's AiiDA profile, with this machine as a computer, and start the daemon
	@mkdir -p .aiida
	@grep -q AIIDA_PATH $(BIN)/activate || sed -i -e "$$ACTIVATE_BACK" -e "$$ACTIVATE" $(BIN)/activate
	aiida-mlip -p $(PROFILE) setup --local

.PHONY: install
install: $(VENV)/.installed ## make .venv and install the package there

.PHONY: install-dev
install-dev: $(VENV)/.installed-dev ## the same, with what tests, lint and docs need

.PHONY: test
test: install-dev ## run the default test suite
	$(PYTEST) -m "not slow and not backends"

.PHONY: test-backends
test-backends: install-dev $(VENV_BACKENDS)/.installed ## run CHGNet and SevenNet in an environment of their own
	AIIDA_MLIP_TEST_BACKENDS=$(CURDIR)/$(VENV_BACKENDS)/bin/python $(PYTEST) -m backends

.PHONY: test-slow
test-slow: install-dev ## run the tests that take more than about 20 s each
	AIIDA_MLIP_TEST_FOUNDATION="$${AIIDA_MLIP_TEST_FOUNDATION:-$(WEIGHTS)}" $(PYTEST) -m "slow and not backends"

.PHONY: lint
lint: install-dev ## ruff, mypy and the import contracts
	ruff check .
	ruff format --check .
	mypy
	lint-imports

.PHONY: docs
docs: install-dev ## build the documentation; warnings are errors
	sphinx-build -W --keep-going -q -b html docs/source docs/build/html
	@echo "docs/build/html/index.html"

.PHONY: check
check: ## everything that CI runs, the Debian packages included
	.ci/run

.PHONY: system-deps
system-deps: ## install the Debian packages that the tests need (debian-packages.txt)
	@missing=$$(comm -23 <(sort debian-packages.txt) \
	    <(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' 2>/dev/null | sed -n 's/^installed //p' | sort -u)); \
	if [ -z "$$missing" ]; then echo "all Debian packages are installed"; exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as_root=env; else as_root=sudo; fi; \
	$$as_root apt-get update; \
	$$as_root DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing

.PHONY: stop
stop: ## stop the daemon of the project's profile
	-@if [ -x $(BIN)/verdi ] && [ -d .aiida ]; then verdi -p $(PROFILE) daemon stop; fi

.PHONY: clean
clean: stop ## remove what was built; the profile in .aiida and its data stay
	rm -rf $(VENV) $(VENV_BACKENDS) build dist docs/build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is older than Python 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@index="$(TORCH_INDEX)"; \
	if [ -z "$$index" ] && ! command -v nvidia-smi >/dev/null && $(BIN)/python -c \
	    'import urllib.request as r; r.urlopen("$(TORCH_CPU_INDEX)/torch/", timeout=10)' 2>/dev/null; \
	then index="$(TORCH_CPU_INDEX)"; fi; \
	set -x; $(BIN)/python -m pip install $${index:+--extra-index-url "$$index"} "$(TORCH)"
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install -e ".[dev]"
	@touch $@ $(VENV)/.installed

# What both environments can share (torch, ASE, pymatgen, ...) is taken from .venv; pip adds the rest, 190 MB in 10 s.
$(VENV_BACKENDS)/.installed: | $(VENV)/.installed
	$(BIN)/python -m venv --clear $(VENV_BACKENDS)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    >"$$($(VENV_BACKENDS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz-main.pth"
	$(VENV_BACKENDS)/bin/python -m pip install --no-warn-conflicts $(BACKENDS)
	@touch $@
