# Sets up what it needs in $(VENV), installs the system's libraries where it may, and is quick the second time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV ?= .venv
PYTHON ?= $(firstword $(shell command -v python3.11 python3))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# Qt's xcb platform, OpenGL in software, a virtual screen and one font; the rest follows from their dependencies.
PACKAGES := xvfb xauth libegl1 libgl1 libgl1-mesa-dri libglib2.0-0 libdbus-1-3 libfontconfig1 fonts-dejavu-core \
	libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-xkb1

IS_ROOT_ON_DEBIAN := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null
APT_INSTALL := apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends

.PHONY: help test demo check install clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: install ## the program on a real case: the window, or files and pictures where there is no screen
	@$(BIN)/pgrd demo

test: check ## everything that must hold
ifeq ($(shell uname -s),Linux)
	@command -v xvfb-run >/dev/null || { echo "make test needs xvfb-run: install the packages xvfb and xauth." >&2; exit 1; }
	@xvfb-run -a -s "-screen 0 1280x800x24" $(BIN)/python -m pytest
else
	@$(BIN)/python -m pytest
endif

check: install ## style, types and import rules alone
	@$(BIN)/ruff check --output-format concise
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

install: $(VENV)/.installed $(VENV)/.libraries ## the environment in .venv

clean: ## remove the environment and caches
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.created:
	@[ -n "$(PYTHON)" ] || { echo "No Python was found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) --version); Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		if $(IS_ROOT_ON_DEBIAN); then ($(APT_INSTALL) python3-venv) >/dev/null; \
		else echo "$(PYTHON) cannot make environments. As root: apt-get install python3-venv" >&2; exit 1; fi; fi
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing the packages of constraints.txt (a few minutes the first time) ..."
	@$(PIP) install -qq --constraint constraints.txt --editable '.[all,train,test]'
	@touch $@

$(VENV)/.libraries: Makefile | $(VENV)/.created
	@if [ "$$(uname -s)" = Linux ]; then \
		missing=""; \
		for package in $(PACKAGES); do \
			dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
		if [ -n "$$missing" ] && $(IS_ROOT_ON_DEBIAN); then \
			echo "Installing the system's libraries:$$missing ..."; ($(APT_INSTALL) $$missing) >/dev/null; \
		elif [ -n "$$missing" ]; then \
			echo "The window may need system libraries that were not found. On Debian, as root: apt-get install$$missing" >&2; fi; fi
	@touch $@
