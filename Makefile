# make deps        install the Debian packages that the demo and the tests use, with apt, as root
# make run         run the demo: a private Postfix, a relay, and Postward between them
# make test        run all checks: format, lint, types and tests
# make test-fast   run the tests that need only Python, in about two minutes
# make coverage    run the fast tests and print their line coverage
# make bench       measure time and memory of the hot paths, and print the figures
# make soak        run 300 rounds of random faults each in a log, in rsyslogd's log, in a configuration and at a relay
# make lint        format the code, then check style and types
# make docs        generate references, alert rules and dashboards from their tables, and build the site in build/site
# make drill       stage a fault on each of 18 hosts, with Prometheus and Alertmanager; takes 15 minutes
# make package     build a .deb and an .rpm in dist/, each with its own Python environment
# make package-test  build both, lint them, and build them again: the bytes must be the same
# make image      build the container image from a Debian of debootstrap, as root, and save it in dist/
# make image-test  build it, and test it with podman: start, delivery, failures, secrets, the end
# make repository URL=https://…  make signed apt and yum repositories of dist/ in dist/repository
# make host-test   test the .deb on Debian hosts under their own systemd (HOSTS=bookworm: one release only), as root
# make lock        update the versions of the dependencies in requirements/

PYTHON ?= python3
export PYTHON
BIN := .venv/bin
TEST_PACKAGES := postfix postfix-lmdb postfix-ldap postfix-sqlite slapd libsasl2-modules libsasl2-dev gcc libc6-dev python3-dev python3-venv prometheus prometheus-alertmanager rsyslog logrotate chromium pflogsumm dovecot-imapd groff-base systemd-journal-remote jsonnet

.PHONY: deps run test test-fast coverage docs lint bench soak lock drill package package-test image image-test repository host-test

deps:
	@.ci/packages $(TEST_PACKAGES)

run:
	@.ci/setup
	@$(BIN)/python -m tools.demo

test:
	@.ci/setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy && $(BIN)/mypy container/entrypoint.py
	$(BIN)/python -m pytest -n auto --durations=25

test-fast:
	@.ci/setup
	POSTWARD_TESTS=fast $(BIN)/python -m pytest -q -r fE -n auto

coverage:
	@.ci/setup
	POSTWARD_TESTS=fast $(BIN)/coverage run -m pytest -q -r fE
	$(BIN)/coverage report --skip-covered --sort=cover

docs:
	@.ci/setup
	$(BIN)/python -m tools.reference
	$(BIN)/python -m grafana
	@.ci/setup docs
	.venv/docs/bin/sphinx-build -q -W --keep-going -n -c tools/site -d build/doctrees docs build/site
	$(BIN)/python -m tools.site build/site

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
	$(BIN)/python -m tools.soak rsyslog --rounds 300
	$(BIN)/python -m tools.soak edits --rounds 300
	$(BIN)/python -m tools.soak relay --rounds 300

package:
	@.ci/packages rpm gcc binutils libc6-dev libsasl2-dev python3-dev
	@.ci/setup
	rm -f dist/postward*.deb dist/postward*.rpm dist/postward*.cdx.json
	systemd/package/build dist 1 deb rpm

package-test: package
	@.ci/packages lintian rpmlint apt-utils createrepo-c gnupg dnf gcc-aarch64-linux-gnu libc6-dev-arm64-cross file
	$(BIN)/python -m pytest tools/packages

image:
	@.ci/packages buildah crun debootstrap gcc binutils libc6-dev libsasl2-dev
	@.ci/setup
	rm -f dist/postward_*.deb
	systemd/package/build dist 1 deb
	$(BIN)/python -m tools.container

image-test: image
	@.ci/packages podman crun prometheus
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --target .venv/container -r requirements/container.lock
	PYTHONPATH=.venv/container $(BIN)/python -m pytest -s tools/container

repository:
	@.ci/packages apt-utils createrepo-c gnupg rpm
	systemd/package/repository dist dist/repository "$(URL)" $(KEY)

host-test:
	@.ci/packages debootstrap systemd-container gcc libc6-dev libsasl2-dev apt-utils createrepo-c gnupg rpm ansible-lint
	@.ci/setup
	$(BIN)/python -m pytest -s tools/hosts $(if $(HOSTS),-k "$(HOSTS)")

lock:
	@.ci/setup
	$(BIN)/python -m venv .venv/lock && .venv/lock/bin/pip install --quiet pip-tools
	.venv/lock/bin/pip-compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --allow-unsafe --strip-extras --no-header --extra dev -o requirements/dev.lock pyproject.toml
	.venv/lock/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--allow-unsafe --strip-extras --no-header --extra dask --extra sink -c requirements/dev.lock -o requirements/run.lock pyproject.toml
	.venv/lock/bin/pip-compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --allow-unsafe --strip-extras --no-header -o requirements/docs.lock requirements/docs.in
	printf 'kubernetes-validate\npy-go-template\n' | .venv/lock/bin/pip-compile --quiet --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --allow-unsafe --strip-extras --no-header -c requirements/dev.lock \
		-o requirements/container.lock -
