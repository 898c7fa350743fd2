# `make demo` and `make test` are all that a fresh Debian machine with Rust needs.

SHELL := /bin/bash
CARGO ?= cargo
DENY_VERSION := 0.20.2
TOOLS := target/tools
# What the build needs of the system: a C compiler and make (for the TLS library), and the
# development files of OpenSSL (for the certificate authority).
PACKAGES := build-essential pkg-config libssl-dev
# What the tests need besides: a solver (proofs over the rules), Python (a client in another
# language), false clocks, network namespaces and file systems of their own.
TEST_PACKAGES := cvc5 python3 python3-venv faketime nftables iproute2 e2fsprogs util-linux mount
# Seconds for each fuzz target, two targets at a time.
FUZZ_SECONDS ?= 60
SEEDS ?= 10000

.PHONY: help demo test ci setup setup-tests build fmt clippy deny docs layering demo-once
.PHONY: prove seeded-bugs soak fuzz interop bench bench-quick bench-tessera

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | column -t -s $$'\t'

demo: setup build ## Run a whole federation on this machine and tell the story.
	target/debug/passerelle demo

test: setup setup-tests build ## Every test.
	$(CARGO) test --workspace --locked

# Every crate is built once there, so what a next build would reuse is only disk: 12 GB less.
ci: export CARGO_INCREMENTAL = 0
ci: fmt clippy deny docs layering test prove seeded-bugs demo-once interop ## What continuous integration runs.
	deploy/fuzz.sh $(FUZZ_SECONDS)

prove: setup setup-tests build ## What the rules can never do, proved: docs/PROOFS.md.
	target/debug/passerelle policy prove

seeded-bugs: setup ## Each promise is broken on purpose, and the simulation finds it.
	$(CARGO) test --locked -p passerelle-simulation --features seeded-bugs --test seeded_bugs

soak: setup ## The simulation at length: make soak SEEDS=10000.
	$(CARGO) run --release --locked -p passerelle-simulation --bin soak -- --seeds $(SEEDS)

interop: setup ## Go's note and tlog, and Tessera's fsck, beside our log: each refuses what is corrupted.
	$(CARGO) build --locked -p passerelle
	go=$$(deploy/go.sh) && $(CARGO) run --locked -p passerelle-interop -- --go "$$go"

fuzz: setup ## Every parser, FUZZ_SECONDS each.
	deploy/fuzz.sh $(FUZZ_SECONDS)

bench: setup ## The benchmark, some 15 minutes: docs/performance.
	$(CARGO) build --release --locked -p passerelle
	$(CARGO) run --release --locked -p passerelle-bench

bench-quick: setup ## The same in under 3 minutes.
	$(CARGO) build --release --locked -p passerelle
	$(CARGO) run --release --locked -p passerelle-bench -- --quick --out target/bench-quick

bench-tessera: setup ## Our log beside Tessera's POSIX log, some 5 minutes: docs/performance/tessera.txt.
	go=$$(deploy/go.sh) && $(CARGO) run --release --locked -p passerelle-bench -- tessera --go "$$go"

setup: ## Install what the system lacks, or say exactly what to install.
	@deploy/setup.sh $(PACKAGES)

setup-tests:
	@deploy/setup.sh $(TEST_PACKAGES)

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
