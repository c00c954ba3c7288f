# Everything a person or CI runs. `make help` lists it.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
LOCK := deploy/lock/development.txt
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo demo-web test lab check format lock setup bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: setup ## Real calls through a private Asterisk, a SIP carrier and PostgreSQL; sets everything up by itself
	@$(BIN)/dialout demo

demo-web: setup ## A page to call telephones from, on the same real parts, until Ctrl-C
	@$(BIN)/dialout demo --web

# Telephones and gateways are waited for most of the time, so two files of these run at once, and beside them two
# of all others, which yield to them: those take their own time, while a telephone is soon late.
# They are in front, because what a shell runs in the background ignores Ctrl-C, and so would what they start.
TELEPHONES := tests/calls tests/gate tests/web
TWO_FILES := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The simulation takes both cores, and comes last so that it makes no other test late.
SIMULATION := tests/simulation

test: setup ## Every check and every test, the ones with the real Asterisk and PostgreSQL included
	@$(MAKE) --no-print-directory --jobs 2 lab check
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	nice -n 5 $(BIN)/pytest $(TWO_FILES) $(addprefix --ignore=,$(TELEPHONES) $(SIMULATION)) > $$log 2>&1 & others=$$!; \
	$(BIN)/pytest $(TWO_FILES) $(TELEPHONES); calls=$$?; \
	wait $$others; others=$$?; cat $$log; \
	$(BIN)/pytest $(SIMULATION); simulation=$$?; exit $$((calls | others | simulation))

lab: setup ## Asterisk, SIPp and Chromium for the tests, built once where the machine has none
	@$(BIN)/python -m gateway.lab .lab

check: setup ## The fast checks: format, lint, types, import rules, SQL
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > /tmp/lint-imports.$$$$ || { cat /tmp/lint-imports.$$$$; rm -f /tmp/lint-imports.$$$$; exit 1; }; rm -f /tmp/lint-imports.$$$$
	@$(BIN)/sqlfluff lint --nocolor --disable-progress-bar sql > /tmp/sqlfluff.$$$$ || { cat /tmp/sqlfluff.$$$$; rm -f /tmp/sqlfluff.$$$$; exit 1; }; rm -f /tmp/sqlfluff.$$$$
	@echo "check ok"

format: setup ## Put the code into its form
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/sqlfluff fix --nocolor --disable-progress-bar --quiet sql

bench: setup ## Measure the post-dial delay with and without the gate, and the ledger's round trips
	@$(BIN)/python -m bench

lock: setup ## Renew the pinned dependencies
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
	  --no-emit-index-url --no-emit-find-links --no-emit-package dialout-gateway --extra dev pyproject.toml -o $(LOCK)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --constraint $(LOCK) pyproject.toml -o deploy/lock/runtime.txt
	@echo hatchling | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --constraint $(LOCK) - -o deploy/lock/build.txt

setup: $(READY) ## The Python environment alone

$(READY): $(LOCK) pyproject.toml deploy/make-venv
	@deploy/make-venv $(VENV) $(LOCK)
	@touch $@

clean: ## Remove what set-up made: the environment and the private Asterisk
	rm -rf $(VENV) .lab
