# `make demo` and `make test` are all that a fresh Debian machine with Rust needs.

SHELL := /bin/bash
CARGO ?= cargo
DENY_VERSION := 0.20.2
TOOLS := target/tools
# What the build needs of the system: a C compiler and make (for the TLS library), and the
# development files of OpenSSL (for the certificate authority).
PACKAGES := build-essential pkg-config libssl-dev

.PHONY: help demo test ci setup build fmt clippy deny docs layering demo-once

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | column -t -s $$'\t'

demo: setup build ## Run a whole federation on this machine and tell the story.
	target/debug/passerelle demo

test: setup build ## Every test.
	$(CARGO) test --workspace --locked

ci: fmt clippy deny docs layering test demo-once ## What continuous integration runs.

setup: ## Install what the system lacks, or say exactly what to install.
	@deploy/setup.sh $(PACKAGES)

build: setup ## Build the two programs.
	$(CARGO) build --workspace --bins --locked

fmt:
	$(CARGO) fmt --all --check

clippy: setup
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

docs: setup
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

layering: ## The pure crates are pure.
	deploy/layering.sh

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --root $(TOOLS)

deny: $(TOOLS)/bin/cargo-deny ## Licences, sources, bans; advisories where their database is reachable.
	$(TOOLS)/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources
	@$(TOOLS)/bin/cargo-deny --locked check advisories || deploy/advisories.sh

demo-once: setup build
	target/debug/passerelle demo --once
