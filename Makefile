# make run     the demo: a private Postfix, a relay, and Postward between them
# make test    everything that must hold
# make bench   figures: time and memory of the hot paths
# make soak    three hundred rounds against a log, a configuration, and a relay that everything happens to
# make lint    style and types
# make docs    what is made from tables: references, alert rules, dashboards
# make drill   eighteen hosts with a fault each before Prometheus and Alertmanager; a quarter of an hour
# make package a .deb and an .rpm in dist/, each with an environment of its own
# make host-test the .deb on Debian hosts with a systemd of their own (HOSTS=bookworm: that release alone); as root
# make lock    newer versions of the dependencies, written to requirements/

PYTHON ?= python3
export PYTHON
BIN := .venv/bin
RUN_PACKAGES := postfix libsasl2-modules python3-venv
TEST_PACKAGES := $(RUN_PACKAGES) prometheus prometheus-alertmanager rsyslog logrotate chromium pflogsumm

.PHONY: run test docs lint bench soak lock drill package host-test

run:
	@.ci/setup $(RUN_PACKAGES)
	@$(BIN)/python -m tools.demo

test:
	@.ci/setup $(TEST_PACKAGES)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

docs:
	@.ci/setup
	$(BIN)/python -m postward.agent.metrics.reference > docs/metrics.md
	$(BIN)/python -m postward.config.lint.reference > docs/lint.md
	$(BIN)/python -m grafana

drill:
	@.ci/setup $(TEST_PACKAGES)
	$(BIN)/python -m tools.drill

lint:
	@.ci/setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

bench:
	@.ci/setup $(RUN_PACKAGES)
	$(BIN)/python -m tools.bench

soak:
	@.ci/setup $(RUN_PACKAGES)
	$(BIN)/python -m tools.soak log --rounds 300
	$(BIN)/python -m tools.soak edits --rounds 300
	$(BIN)/python -m tools.soak relay --rounds 300

package:
	@.ci/setup rpm
	systemd/package/build dist 1 deb rpm

host-test:
	@.ci/setup debootstrap systemd-container $(TEST_PACKAGES)
	$(BIN)/python -m pytest -s tools/hosts $(if $(HOSTS),-k "$(HOSTS)")

lock:
	@.ci/setup
	$(BIN)/python -m venv .venv/lock && .venv/lock/bin/pip install --quiet pip-tools
	.venv/lock/bin/pip-compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --allow-unsafe --strip-extras --no-header --extra dev -o requirements/dev.lock pyproject.toml
	.venv/lock/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--allow-unsafe --strip-extras --no-header -c requirements/dev.lock -o requirements/run.lock pyproject.toml
