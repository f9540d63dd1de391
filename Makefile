# All that a clone needs is GNU make and Python 3.11 or newer: `make help`.
#
# Where a C compiler works, the core is compiled, and a build that breaks is an
# error. Where none works, the pure-Python twin runs instead, and make says so.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
CC ?= cc
VENV ?= .venv
PYTEST_ARGS ?= -q
# Tests run in as many processes; WORKERS=0 runs them in one.
WORKERS ?= 2

PY := $(VENV)/bin/python
STAMPS := $(VENV)/.stamps
PIP := $(PY) -m pip --disable-pip-version-check -qq

# Both switches are make's to set, one command at a time.
unexport SAGE_NO_EXTENSIONS SAGE_REQUIRE_EXTENSIONS
# Hundreds of interpreters start in the tests; each would compile every file again.
unexport PYTHONDONTWRITEBYTECODE
export CC

# --- which twin --------------------------------------------------------------------

# Compile and link the first line of a real extension. `test -s` is for compilers
# that succeed without doing anything.
define PROBE
dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT; \
include=$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
printf '\043include <Python.h>\nint probe(void) { return PY_MAJOR_VERSION; }\n' \
	> "$$dir/probe.c"; \
$(CC) -shared -fPIC -I"$$include" "$$dir/probe.c" -o "$$dir/probe.so" \
	> /dev/null 2>&1 && test -s "$$dir/probe.so" && echo compiled || echo pure
endef

GOALS := $(or $(MAKECMDGOALS),help)
ifneq ($(filter-out help clean,$(GOALS)),)
  ifeq ($(SAGE_NO_EXTENSIONS),1)
    TWIN := pure
    WHY := SAGE_NO_EXTENSIONS=1
  else
    TWIN := $(shell $(PROBE))
    WHY := no working C compiler (CC=$(CC))
  endif
  ifeq ($(TWIN),compiled)
    RUN := SAGE_REQUIRE_EXTENSIONS=1
  else ifeq ($(SAGE_REQUIRE_EXTENSIONS),1)
    $(error $(WHY), and SAGE_REQUIRE_EXTENSIONS=1 demands the compiled core)
  else
    RUN := SAGE_NO_EXTENSIONS=1
    $(info $(WHY): building the pure-Python twin)
  endif
endif

# --- the environment ---------------------------------------------------------------

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "sage needs Python 3.11 or newer; try make PYTHON=python3.11" >&2; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

# What the build itself needs goes in first, so that builds need no network.
$(STAMPS)/build: pyproject.toml $(STAMPS)/venv
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' > $@.txt
	@$(PIP) install -r $@.txt
	@touch $@

# Sets that are there where the larger one is; pip would look at each requirement again.
HELD_BY_dev := test all cli
HELD_BY_test := all cli
HELD_BY_all := cli

# The package, editable, with one set of extras; nothing is compiled here.
.PRECIOUS: $(STAMPS)/with-%
$(STAMPS)/with-%: pyproject.toml setup.py $(STAMPS)/build
	@echo "installing sage-secure[$*] into $(VENV)"
	@SAGE_NO_EXTENSIONS=1 $(PIP) install --no-build-isolation --editable '.[$*]'
	@touch $@ $(HELD_BY_$*:%=$(STAMPS)/with-%)

$(STAMPS)/core-compiled: pyproject.toml setup.py sage/_core.pyx $(wildcard sage/*.pxi) $(STAMPS)/build
	@echo "compiling sage._core (CC=$(CC))"
	@SAGE_REQUIRE_EXTENSIONS=1 $(PY) setup.py --quiet build_ext --inplace --force
	@touch $@

# A compiled core that is already there does no harm: $(RUN) decides what runs.
$(STAMPS)/core-pure: $(STAMPS)/build
	@touch $@

CORE := $(STAMPS)/core-$(TWIN)

# --- what to do --------------------------------------------------------------------

.PHONY: help demo test test-all lint docs bench bench-history bench-check bench-gate
.PHONY: dashboard ratios sizes resolution http-ratios stalls fuzz valgrind clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(STAMPS)/with-cli $(CORE) ## run two agents over TLS, and attacks on them
	@$(RUN) $(VENV)/bin/sage demo

# Python cannot install a Redis server; whoever has none tests everything else.
REDIS := $(shell command -v redis-server || command -v valkey-server)

test: SELECT := -m "not slow$(if $(REDIS),, and not redis)"
test: run-tests ## run the tests: compiled core on each engine, then the pure twin

test-all: SELECT := $(if $(REDIS),,-m "not redis")
test-all: run-tests ## the same with the tests that take long

# tests/conftest.py refuses to run on anything but what these variables name.
LIBCRYPTO := SAGE_REQUIRE_EXTENSIONS=1 SAGE_ENGINE=libcrypto
CRYPTOGRAPHY := SAGE_REQUIRE_EXTENSIONS=1 SAGE_ENGINE=cryptography
PURE := SAGE_ENGINE= SAGE_NO_EXTENSIONS=1
PYTEST = $(PY) -m pytest -n $(WORKERS) --dist worksteal $(SELECT) $(PYTEST_ARGS)

# Not every Python lets a libcrypto be found; the gate sets REQUIRE_LIBCRYPTO=1.
.PHONY: run-tests
run-tests: $(STAMPS)/with-test $(CORE)
	$(if $(REDIS),,@echo "== tests with a Redis server: left out, there is no redis-server ==")
ifeq ($(TWIN),compiled)
	@if said=$$($(LIBCRYPTO) $(PY) -c 'import sage; sage.backend()' 2>&1); then \
		echo "== tests: compiled core, engine libcrypto =="; \
		$(LIBCRYPTO) $(PYTEST); \
	else \
		why=$${said##*ConfigError: }; \
		[ "$$why" != "$$said" ] && [ "$(REQUIRE_LIBCRYPTO)" != 1 ] \
			|| { echo "$$said" >&2; exit 1; }; \
		echo "== tests: compiled core, engine libcrypto: left out, $$why =="; \
	fi
	@echo "== tests: compiled core, engine cryptography =="
	@$(CRYPTOGRAPHY) $(PYTEST)
else
	@echo "== tests: compiled core: left out, $(WHY) =="
endif
	@echo "== tests: pure-Python twin =="
	@$(PURE) $(PYTEST)

lint: $(STAMPS)/with-dev ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy --strict

# Pages are read once, for the examples and for HTML.
SPHINX := $(PY) -m sphinx -q -W --keep-going -d docs/_build/doctrees

docs: $(STAMPS)/with-dev $(CORE) ## build docs/_build/html and run the examples in it
	@$(RUN) $(SPHINX) -b doctest docs docs/_build/doctest
	@$(RUN) $(SPHINX) -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# asv builds each commit in an environment of its own; results/ is for committing.
MACHINE ?= ci
HISTORY ?= 20
SCRIPTS := $(PY) asv_bench/scripts

bench: $(STAMPS)/with-bench ## measure this commit with asv, on both kernels
	@$(SCRIPTS)/history.py --commits 0 --also HEAD --all --again --rounds 0 --machine $(MACHINE)

bench-history: $(STAMPS)/with-bench ## the same for commits without results (HISTORY=20)
	@$(SCRIPTS)/history.py --commits $(HISTORY) --machine $(MACHINE)

dashboard: $(STAMPS)/with-bench ## publish all results to asv_bench/html
	@$(SCRIPTS)/dashboard.py

bench-gate: $(STAMPS)/with-bench ## fail where this commit is slower (BASE=revision)
	@$(SCRIPTS)/gate.py $(if $(BASE),--base $(BASE))

bench-check: $(STAMPS)/with-dev $(CORE) ## run every benchmark once, to see that it runs
ifeq ($(TWIN),compiled)
	@SAGE_REQUIRE_EXTENSIONS=1 $(SCRIPTS)/check.py
else
	@SAGE_NO_EXTENSIONS=1 $(SCRIPTS)/check.py
endif

ratios: $(STAMPS)/with-all $(CORE) ## compare costs with other packages, and judge the ratios
	@$(RUN) $(VENV)/bin/sage bench --check

sizes: $(STAMPS)/with-all $(CORE) ## hold a million sessions, and judge what they cost
	@$(RUN) $(PY) asv_bench/scripts/manager_sizes.py

resolution: $(STAMPS)/with-all $(CORE) ## compare a cached resolution with one from a registry
	@$(RUN) $(PY) asv_bench/scripts/resolution_cache.py

http-ratios: $(STAMPS)/with-all $(CORE) ## measure what signed HTTP costs, and judge it
	@$(RUN) $(PY) asv_bench/scripts/http_signatures.py

stalls: $(STAMPS)/venv ## measure how often this machine takes a core away
	@$(PY) asv_bench/scripts/stalls.py

# Both compile the core in a way of their own, below build/, and need what Python cannot
# install: clang for the one, valgrind for the other.
SECONDS ?= 60
ENGINE ?=
SHOW ?=

fuzz: $(STAMPS)/with-fuzz ## fuzz the compiled core under sanitizers for SECONDS=60
	@$(PY) tests/fuzz/run.py --seconds $(SECONDS) --engine "$(ENGINE)" --show $(SHOW)

valgrind: $(STAMPS)/with-test $(CORE) ## run the unit tests of the compiled core under valgrind
	@$(PY) tests/fuzz/memcheck.py

clean: ## remove everything that make made
	@rm -rf $(VENV) build dist docs/_build sage_secure.egg-info \
		asv_bench/.asv asv_bench/.asv.conf.json asv_bench/html
	@rm -rf .pytest_cache .hypothesis .mypy_cache .ruff_cache
	@rm -f sage/_core.c sage/_core.html sage/_core*.so sage/_core*.pyd
	@find sage tests docs asv_bench -name __pycache__ -prune -exec rm -rf {} +
