# make deps    install the Debian packages that run and test use, by apt, as root
# make run     the demo: a private Postfix, a relay, and Postward between them
# make test    everything that must hold
# make test-fast the tests that need no Postfix or other program, in under a minute
# make coverage  the fast tests with their line coverage
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
TEST_PACKAGES := postfix libsasl2-modules python3-venv prometheus prometheus-alertmanager rsyslog logrotate chromium pflogsumm

.PHONY: deps run test test-fast coverage docs lint bench soak lock drill package host-test

deps:
	@.ci/packages $(TEST_PACKAGES)

run:
	@.ci/setup
	@$(BIN)/python -m tools.demo

test:
	@.ci/setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --durations=25

test-fast:
	@.ci/setup
	POSTWARD_TESTS=fast $(BIN)/python -m pytest -q -r fE

coverage:
	@.ci/setup
	POSTWARD_TESTS=fast $(BIN)/coverage run -m pytest -q -r fE
	$(BIN)/coverage report --skip-covered --sort=cover

docs:
	@.ci/setup
	$(BIN)/python -m postward.agent.metrics.reference > docs/metrics.md
	$(BIN)/python -m postward.config.lint.reference > docs/lint.md
	$(BIN)/python -m grafana

drill: deps
	@.ci/setup
	$(BIN)/python -m tools.drill

lint:
	@.ci/setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

bench:
	@.ci/setup
	$(BIN)/python -m tools.bench

soak:
	@.ci/setup
	$(BIN)/python -m tools.soak log --rounds 300
	$(BIN)/python -m tools.soak edits --rounds 300
	$(BIN)/python -m tools.soak relay --rounds 300

package:
	@.ci/packages rpm
	@.ci/setup
	systemd/package/build dist 1 deb rpm

host-test:
	@.ci/packages debootstrap systemd-container
	@.ci/setup
	$(BIN)/python -m pytest -s tools/hosts $(if $(HOSTS),-k "$(HOSTS)")

lock:
	@.ci/setup
	$(BIN)/python -m venv .venv/lock && .venv/lock/bin/pip install --quiet pip-tools
	.venv/lock/bin/pip-compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --allow-unsafe --strip-extras --no-header --extra dev -o requirements/dev.lock pyproject.toml
	.venv/lock/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--allow-unsafe --strip-extras --no-header -c requirements/dev.lock -o requirements/run.lock pyproject.toml
