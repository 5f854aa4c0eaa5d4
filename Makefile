# Everything sets itself up: a machine needs Python 3.13, make and a network.

PYTHON ?= $(shell command -v python3.13 || command -v python3)
UV := $(shell command -v uv || echo .tools/bin/uv)
export UV_PROJECT_ENVIRONMENT := .venv

.PHONY: run test check deploy-check contract clean

# The local stack with a page to click: http://127.0.0.1:8000 (PORT=…, REPLAY=none|FILE)
run: .venv/ready
	@PATH="$(CURDIR)/.venv/bin:$$PATH" exec python -m infra.local

# All tests that need no deployment tools; the longest file first, so that both cores stay busy
test: .venv/ready .tools/ministack/ready check
	.venv/bin/pytest -n auto --dist loadfile --no-loadscope-reorder \
		--ignore tests/deploy tests/flow/test_replay.py tests

# Style and types
check: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# The template, the build and its artifacts, with AWS's own tools
deploy-check: .venv/ready .tools/sam/ready
	PATH="$(abspath $(dir $(UV))):$$PATH" .venv/bin/pytest tests/deploy

# Write again what is generated: schemas and examples under events/, the schema of the model
contract: .venv/ready
	.venv/bin/python -m infra.workbench.contract

clean:
	rm -rf .venv .tools .aws-sam build

.venv/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet --python 3.13
	@touch $@

.tools/sam/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.tools/sam $(UV) sync --frozen --quiet --python 3.13 --only-group sam
	@touch $@

.tools/ministack/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.tools/ministack $(UV) sync --frozen --quiet --python 3.13 \
		--only-group ministack
	@touch $@

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
