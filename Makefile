# Needs only Python 3.11 to 3.13 (with pip and venv) and make. Everything else is installed into .venv.

ARGS ?=
SEEDS ?= 1000
# Processes that share the tests; those that start processes of their own run one by one.
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# The packages of pure cores; their shells are left out of the stricter coverage bound.
PURE := chainp2p/primitives/*,chainp2p/wire/*,chainp2p/chain/*,chainp2p/peer/*,chainp2p/ledger/*,chainp2p/sync/*,chainp2p/gossip/*,chainp2p/discovery/*
STAMP := $(VENV)/.installed
# What trial runs as well; simulations and processes know no test runner.
UNITS := $(filter-out tests.integration tests.simulation,$(subst /,.,$(patsubst %/__init__.py,%,$(wildcard tests/*/__init__.py)))) tests.test_tap

# Tests start some hundred processes: compiled once, each of them is there sooner.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: venv devnet test check bench sweep docs clean test-wallets

venv: $(STAMP)

# The first fitting Python wins; PYTHON=... chooses another.
$(STAMP): pyproject.toml setup.py
	@found=; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	    version=$$($$python -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    case $$version in 3.11|3.12|3.13) found=$$python; break;; *) seen="$$seen $$python ($$version)";; esac; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "make: no Python 3.11, 3.12 or 3.13 with venv and pip was found; seen:$${seen:- none}. Set PYTHON=/path/to/python3.13" >&2; exit 1; \
	fi; \
	echo "using $$found (Python $$version)"; \
	test -x $(BIN)/python || $$found -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools wheel
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint,docs,bench]'
	@touch $(STAMP)

devnet: venv
	@exec $(BIN)/chainp2p devnet $(ARGS)

# Simulations repeat what the units cover, so they run at full speed, without coverage.
test: venv
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests --ignore=tests/integration --ignore=tests/simulation -n $(JOBS) --dist worksteal $(ARGS)
	$(BIN)/python -m pytest tests/simulation -n $(JOBS) --dist worksteal $(ARGS)
	$(BIN)/coverage run -m pytest tests/integration $(ARGS)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --fail-under=90
	$(BIN)/coverage report --skip-covered --fail-under=95 --include='$(PURE)' --omit='*/service.py,*/store.py'
	$(BIN)/trial -j $(JOBS) --temp-directory=.venv/trial $(UNITS)

test-wallets: venv
	$(BIN)/python -m pytest tests/integration -k wallet

check:
	@.ci/run

bench: venv
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

sweep: venv
	@$(BIN)/python benchmarks/sweep_partition.py --seeds $(SEEDS) --jobs 2

docs: venv
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf $(VENV) build dist docs/_build docs/reference/generated .coverage .coverage.* *.egg-info
