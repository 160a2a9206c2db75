# make lab        everything: packages, environment, machine, stack, a quick experiment, its report
# make test       all that can be tested here, on a lab of its own
# make test-hosts what it says here, on Debian 12, 13 and testing, each a desk in a container
# make test-docker  what can go wrong with `vagrant up` by Docker's engine (make test has its plain way)
# make notebooks  open the notebooks in JupyterLab (127.0.0.1 only)
# make benchmark  how long the lab itself takes: boot, changes, experiments
# make doctor     is this machine ready for a lab, and if not, why
# make pictures   draw the README's pictures anew, from the experiments in results/
# make check      lint
# make clean      remove this checkout's containers, .venv and build/; results stay

.DEFAULT_GOAL := help
.PHONY: help lab test test-unit test-hosts test-docker test-vagrant notebooks benchmark doctor pictures check clean lock

PYTHON ?= python3
BIN := .venv/bin
# A person's pip.conf may have packages go elsewhere, or hold them to other versions than the lock's; where they come
# from, and through which proxy, it goes on saying.
export PIP_USER := 0
export PIP_CONSTRAINT := /dev/null
QUICK := eight-cases-quick
# A file of tests stays on one CPU. The lab's tests, which measure, run one by one.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
UNIT := $(BIN)/pytest tests/unit -n auto --dist loadfile

help:
	@sed -n 's/^# //p' Makefile

# The environment: exactly what requirements/desk.lock names.
.venv/.lock: requirements/desk.lock pyproject.toml
	@provision/needs python
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/desk.lock || { \
	  echo "pip could not install what requirements/desk.lock names (above). Without a network: try again when it is there." \
	  "A package that was withdrawn, or whose hash is another: 'make lock' names those of today" >&2; exit 1; }
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@cp requirements/desk.lock $@

lab: .venv/.lock
	@provision/needs lab
	$(BIN)/fab up provision
	$(BIN)/fab experiment eight-cases --quick
	@echo
	@echo "Look at it:        results/$(QUICK)/report.html"
	@echo "Go on from there:  make notebooks"

notebooks: .venv/.lock
	JUPYTER_CONFIG_PATH=$(CURDIR)/notebooks/.jupyter $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) \
	  --ip 127.0.0.1 --ServerApp.root_dir=$(CURDIR) --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

test: .venv/.lock
	@provision/needs lab unit test hosts
	@$(UNIT); unit=$$?; $(AS_ROOT) $(BIN)/python -m tests.hosts --quick 13; desk=$$?; \
	  $(BIN)/pytest tests/lab tests/vagrant/test_classroom.py && exit $$((unit | desk))

test-unit: .venv/.lock
	@provision/needs unit
	$(UNIT)

HOSTS ?= 12 13 testing
test-hosts: .venv/.lock
	@provision/needs lab hosts
	$(AS_ROOT) $(BIN)/python -m tests.hosts $(HOSTS); desks=$$?; $(BIN)/pytest tests/hosts && exit $$desks

test-docker: .venv/.lock
	@provision/needs lab test
	$(BIN)/pytest tests/vagrant/test_docker_faults.py -s

test-vagrant: .venv/.lock
	@provision/needs vagrant
	$(BIN)/pytest tests/vagrant/test_classroom.py --libvirt -s

benchmark: .venv/.lock
	$(BIN)/python -m tests.benchmark

doctor: .venv/.lock
	$(BIN)/fab doctor

pictures: .venv/.lock
	$(BIN)/python docs/pictures.py

check: .venv/.lock
	$(BIN)/ruff check

clean:
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m stacklab.labs.clean
	rm -rf .venv .pytest_cache .hypothesis build

# After a change of pyproject.toml or provision/requirements.in. The locks hold versions and hashes, no addresses.
LOCK := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock:
	$(LOCK) provision/requirements.in -o provision/requirements.lock
	$(LOCK) --extra test pyproject.toml provision/requirements.in -o requirements/desk.lock
