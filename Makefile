# Every target makes .venv in this checkout and installs what it needs with plain pip; the second time takes no time.
# Nothing outside the checkout changes. `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    ?= runs/demo
TOUR   ?= runs/demo-all
SINCE  ?= HEAD

DISTRIBUTIONS := core plugins/diffusion plugins/image plugins/text plugins/3d plugins/audio plugins/video
EDITABLE      := $(addprefix -e ./,$(patsubst plugins/audio,plugins/audio[speech],$(DISTRIBUTIONS)))
BUILD_TOOLS   := hatchling editables

# A stamp carries a checksum of everything that decides what is installed (and where: a moved checkout has a dead venv).
# A changed pin installs again, nothing else does.
PINS := constraints.txt $(addsuffix /pyproject.toml,$(DISTRIBUTIONS))
key   = $(firstword $(shell { echo '$(CURDIR)'; cat $(PINS) $(1); } | cksum))
BASE := $(VENV)/.installed-base-$(call key,)
DEV  := $(VENV)/.installed-dev-$(call key,requirements-dev.txt requirements-docs.txt)
DOCS := $(VENV)/.installed-docs-$(call key,requirements-docs.txt)

# Quiet when it works; when it does not, the log of what happened.
PIP     := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt
LOG     := $(VENV)/install.log
install  = { $(1); } >$(LOG) 2>&1 || { cat $(LOG) >&2; echo "installation failed; the log above is in $(LOG)" >&2; exit 1; }

.DELETE_ON_ERROR:
.PHONY: help install demo demo-all test test-slow test-long check lint format bench docs clean venv

help:
	@echo "make install   .venv with limbeck, its plugins and the tools to work on them"
	@echo "make demo      distil the bundled digits teacher into a one-step student; table and report in $(RUN)"
	@echo "make demo-all  one small distillation per modality (image, video, audio, 3d, text), and one page in $(TOUR)"
	@echo "make test      ruff, mypy, pytest (everything but the tests marked slow, long or gpu)"
	@echo "make test-slow the tests of 3 to 90 s; make test-long those above"
	@echo "make check     lint and test only what a change touches (SINCE=main; by default what is not committed)"
	@echo "make lint      ruff and mypy alone; make format lets ruff rewrite"
	@echo "make bench     the measurements behind docs/benchmarks.md"
	@echo "make docs      the documentation as a site, in site/ (tables made from the manifests)"
	@echo "make clean     remove .venv, site/ and caches (runs/ stays)"
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter that makes .venv (3.11 or newer)."

# The checks of `venv` are cheap and run always; a venv made in another place is made again.
venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Limbeck needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there)." >&2; \
	  echo "Name another one: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12" >&2; exit 1; }
	@if [ ! -x $(BIN)/python ] || [ "$$(cat $(VENV)/.checkout 2>/dev/null)" != "$(CURDIR)" ]; then \
	  rm -rf $(VENV); \
	  $(PYTHON) -m venv $(VENV) || { echo "no venv: is the python3-venv package of your system installed?" >&2; exit 1; }; \
	  printf '%s\n' "$(CURDIR)" > $(VENV)/.checkout; \
	fi

$(BASE): | venv
	@echo "  installing into $(VENV) ... (first time only)"
	@start=$$(date +%s); rm -f $(VENV)/.installed-*; \
	$(call install,$(PIP) torch $(BUILD_TOOLS) && $(PIP) --no-build-isolation $(EDITABLE) && $(BIN)/python tools/torchaudio_without_cuda.py); \
	echo "  installed in $$(( $$(date +%s) - start )) s"
	@touch $@

$(DEV): requirements-dev.txt requirements-docs.txt $(BASE) | venv
	@echo "  installing the development tools ... (first time only)"
	@$(call install,$(PIP) -r requirements-dev.txt -r requirements-docs.txt && $(BIN)/python tools/torchaudio_without_cuda.py)
	@rm -f $(VENV)/.installed-dev-*; touch $@

$(DOCS): requirements-docs.txt $(BASE) | venv
	@echo "  installing the documentation tools ... (first time only)"
	@$(call install,$(PIP) -r requirements-docs.txt)
	@rm -f $(VENV)/.installed-docs-*; touch $@

install: $(DEV)
	@echo "  ready: $(BIN)/limbeck --help"

demo: $(BASE)
	@start=$$(date +%s); \
	$(BIN)/limbeck distill digits_dmd2 --out $(RUN) --overwrite || exit $$?; \
	seconds=$$(( $$(date +%s) - start )); \
	echo "  took      $$(( seconds / 60 )) min $$(( seconds % 60 )) s"

# A second time, runs that are finished are kept, and the one that was interrupted goes on.
demo-all: $(BASE)
	@start=$$(date +%s); \
	$(BIN)/limbeck tour --out $(TOUR) --overwrite || exit $$?; \
	seconds=$$(( $$(date +%s) - start )); \
	echo "took      $$(( seconds / 60 )) min $$(( seconds % 60 )) s"

test: lint
	@$(BIN)/pytest -n auto --dist loadgroup

test-slow: $(DEV)
	@$(BIN)/pytest -n auto --dist loadgroup -m slow

# Trainings; one after the other, so that what they time is theirs.
test-long: $(DEV)
	@$(BIN)/pytest -m long

check: $(DEV)
	@$(BIN)/python tools/check.py $(SINCE)

lint: $(DEV)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

format: $(DEV)
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

bench: $(DEV)
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: $(DOCS)
	@$(BIN)/python tools/generated_docs.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "  site/index.html"

clean:
	@rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
