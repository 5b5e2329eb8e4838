# Everything from nothing: each target makes what it needs. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
AUDIT := $(VENV)/audit
# Hundreds of processes are started here: compiled once, each begins in two thirds of the time. Empty is the same as unset.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help test lint types unit demo sim bench mutants crash powercut audit clean format

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

test: lint types unit ## lint, types and tests, from nothing

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

unit: $(STAMP) ## the tests
	$(BIN)/python -m pytest --numprocesses 5 --dist loadscope --no-loadscope-reorder

demo: $(STAMP) ## recordings to transcripts on this machine, no key needed: make demo API=grpc
	$(BIN)/batcher demo -o demo-out --api $(or $(API),rest)

sim: $(STAMP) ## simulated nights: make sim N=500 SEED=0
	$(BIN)/python -m tests.simulation $(or $(N),100) $(or $(SEED),0) --jobs $(or $(JOBS),1) $(if $(LARGE),--large)

crash: $(STAMP) ## kill -9 at every named point, and in N batches at random moments (N below 100: a few at each point): make crash N=200 SEED=0
	$(BIN)/python -m tests.crash $(or $(N),200) $(or $(SEED),0)

powercut: $(STAMP) ## cut the power of the disk under OUT (root, Linux): make powercut N=100 SEED=0
	$(BIN)/python -m tests.crash.powercut $(or $(N),100) $(or $(SEED),0)

bench: $(STAMP) ## what batcher costs and how full it keeps the window, measured side by side (an hour)
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.window
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.jobs_cpu
	$(BIN)/python -m benchmarks.million
	$(BIN)/python -m benchmarks.bwlimit
	$(BIN)/python -m benchmarks.upload
	$(BIN)/python -m benchmarks.upload --cold --case 16x500MB
	$(BIN)/python -m benchmarks.upload --link 125 --case 1x500MB --case 16x64MB
	$(BIN)/python -m benchmarks.upload --tls --link 250 --case 16x64MB

mutants: $(STAMP) ## break each guard and let the simulated nights find it
	$(BIN)/python -m tests.mutants $(if $(NAME),"$(NAME)")

# Whatever is not an answer is told as one line and a failure: silence must not pass for "nothing known".
audit: $(STAMP) ## known vulnerabilities of the tested versions; needs internet
	@$(BIN)/pip-audit --version >/dev/null 2>&1 \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 15 \
			--constraint constraints.txt pip-audit 2>$(AUDIT).log \
		|| { echo "not audited: pip-audit cannot be installed: $$(tail -n 1 $(AUDIT).log)"; exit 2; }
	@rm -f $(AUDIT).txt; \
	if $(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip --timeout 10 \
		--progress-spinner off --format columns --output $(AUDIT).txt 2>$(AUDIT).log; then \
		echo "no known vulnerabilities in the $$(grep -c '==' constraints.txt) tested versions"; \
	elif [ -s $(AUDIT).txt ]; then \
		cat $(AUDIT).txt; exit 1; \
	else \
		echo "not audited: the source of known vulnerabilities gave no usable answer: $$(tail -n 1 $(AUDIT).log)"; exit 2; \
	fi

format: $(STAMP) ## let ruff write the format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what make made
	rm -rf $(VENV) .venv-legacy demo-out
