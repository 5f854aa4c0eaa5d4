# Everything sets itself up: a machine needs Python 3.13, make and a network.

PYTHON ?= $(shell command -v python3.13 || command -v python3)
UV := $(shell command -v uv || echo .tools/bin/uv)
export UV_PROJECT_ENVIRONMENT := .venv

.PHONY: run test trust check audit deploy-check deploy-rehearsal scan api-check contract node clean

# The local stack with a page to click: http://127.0.0.1:8000 (PORT=…, REPLAY=none|FILE)
run: .venv/ready
	@PATH="$(CURDIR)/.venv/bin:$$PATH" exec python -m infra.local

# All tests that need no deployment tools; the longest file first, so that both cores stay busy
test: .venv/ready .tools/ministack/ready node check
	.venv/bin/pytest -n auto --dist loadfile --no-loadscope-reorder \
		--ignore tests/deploy --ignore tests/api tests/flow/test_replay.py tests

# A crowd in bad weather on two engines, and all that is broken on purpose, in one table
trust: .venv/ready .tools/ministack/ready
	.venv/bin/python -m tests.trust

# Style and types
check: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# The template, the build, its artifacts and the runbook, with AWS's own tools
deploy-check: .venv/ready .tools/sam/ready .tools/ministack/ready .tools/aws/ready
	PATH="$(abspath $(dir $(UV))):$$PATH" .venv/bin/pytest tests/deploy

# Build, deploy, do the main job, update, delete and take up again: on ministack, without an account
deploy-rehearsal: .venv/ready .tools/sam/ready .tools/ministack/ready
	PATH="$(abspath $(dir $(UV))):$$PATH" .venv/bin/python -m tests.rehearsal

# Checkov on the templates as CloudFormation sees them; .checkov.yaml says what it need not find
scan: .tools/sam/ready .tools/checkov/ready
	@mkdir -p build
	.tools/sam/bin/python -m infra.expand > build/template.json
	.tools/checkov/bin/checkov --file build/template.json infra/data.yaml infra/monitoring.yaml

# Weak spots in our code, and known ones in what runs inside Lambda; it names what it can't ask PyPI
audit: .tools/audit/ready
	.tools/audit/bin/bandit --quiet --configfile pyproject.toml --recursive functions infra
	.tools/audit/bin/pip-audit --disable-pip --require-hashes --requirement functions/requirements.txt

# Schemathesis against the running local stack, by what events/openapi.json says of it
api-check: .venv/ready .tools/schemathesis/ready
	.venv/bin/pytest tests/api

# Write again what is generated: schemas and examples under events/, of the model and the API
contract: .venv/ready
	.venv/bin/python -m infra.workbench.contract

# What the tests of lead.js and of Segment's clients need; without Node.js they are skipped
node: infra/snippet/node_modules/.package-lock.json tests/clients/node_modules/.package-lock.json

%/node_modules/.package-lock.json: %/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix $* --ignore-scripts --no-audit --no-fund \
		--silent && touch $@; else echo "no npm: without Node.js some tests are skipped"; fi

clean:
	rm -rf .venv .tools .aws-sam build infra/snippet/node_modules tests/clients/node_modules

.venv/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet --python 3.13
	@touch $@

.tools/sam/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.tools/sam $(UV) sync --frozen --quiet --python 3.13 --only-group sam
	@touch $@

.tools/aws/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.tools/aws $(UV) sync --frozen --quiet --python 3.13 --only-group aws
	@touch $@

.tools/checkov/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.tools/checkov $(UV) sync --frozen --quiet --python 3.13 \
		--only-group checkov
	@touch $@

.tools/audit/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.tools/audit $(UV) sync --frozen --quiet --python 3.13 --only-group audit
	@touch $@

.tools/schemathesis/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.tools/schemathesis $(UV) sync --frozen --quiet --python 3.13 \
		--only-group schemathesis
	@touch $@

.tools/ministack/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.tools/ministack $(UV) sync --frozen --quiet --python 3.13 \
		--only-group ministack
	@touch $@

.tools/bin/uv:
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
