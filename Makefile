# What can be done here: `make help`. Every target installs what it lacks where it may, and says what to install where it
# may not. There is one Cargo profile, so that run, test, verify and bench share one build of RocksDB.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# A fresh rustup puts cargo where only new shells look.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Extra flags for every cargo call, for example CARGO_FLAGS=--locked.
CARGO_FLAGS ?=

.PHONY: help run test chaos sim sim-soak verify fix bench clean setup

help: ## show this list
	@echo 'usage: make TARGET [ARGS="…"]'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

run: ARGS ?= --load 100000
run: setup ## build and start a playground: three stores, a load of 100,000 keys, a prompt; ARGS replaces the load
	@cargo build $(CARGO_FLAGS) --bin raftyard
	@exec cargo run --quiet $(CARGO_FLAGS) --bin raftyard -- playground $(ARGS)

test: setup ## run every test; ARGS goes to cargo test
	cargo test $(CARGO_FLAGS) --workspace $(ARGS)

chaos: MINUTES ?= 10
chaos: setup ## disturb clusters of real processes for MINUTES=10; CHAOS_SEED and CHAOS_NETWORK choose what exactly
	CHAOS_MINUTES=$(if $(CHAOS_NETWORK),$(MINUTES),$$(( $(MINUTES) - $(MINUTES) / 3 ))) \
	  cargo test $(CARGO_FLAGS) -p raftyard --test chaos -- --nocapture --test-threads 1 $(ARGS)
	@# Stores come and go for the rest of the time; a network is a wish for the test above.
	$(if $(CHAOS_NETWORK),,CHAOS_MINUTES=$$(( $(MINUTES) / 3 )) \
	  cargo test $(CARGO_FLAGS) -p raftyard --test moves -- --nocapture --test-threads 1 $(ARGS))

sim: SEED ?= 0
sim: PROFILE ?= everything
sim: setup ## run one simulated cluster: SEED=0 PROFILE=everything; ARGS goes to raftyard-sim, see ARGS=--help
	cargo run $(CARGO_FLAGS) -p raftyard-sim -- --seed $(SEED) --profile $(PROFILE) $(ARGS)

sim-soak: MINUTES ?= 10
sim-soak: JOBS ?= 2
sim-soak: SEED ?= $(shell date +%s)
sim-soak: setup ## run simulated clusters under every profile for MINUTES=10, JOBS=2 at a time, from SEED on (now)
	cargo run $(CARGO_FLAGS) -p raftyard-sim -- --minutes $(MINUTES) --jobs $(JOBS) --seed $(SEED) --profile all $(ARGS)

verify: setup ## check formatting, lints, documentation, layers and dependencies; changes nothing
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(CARGO_FLAGS) --workspace --no-deps --document-private-items
	cargo test $(CARGO_FLAGS) --test layers
	@if ! command -v cargo-deny >/dev/null; then \
	  echo 'skipped: cargo-deny is not installed (cargo install --locked cargo-deny)'; \
	else \
	  cargo deny check bans licenses sources; \
	  if cargo deny fetch db; then cargo deny check advisories; \
	  else echo 'skipped: the database of advisories cannot be fetched from here'; fi; \
	fi

fix: setup ## format, and mend what clippy can mend
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

bench: setup ## measure; ARGS goes to the benches
	@if ! compgen -G 'benches/*.rs' >/dev/null; then echo 'there is no bench in benches/ yet'; exit 1; fi
	cargo bench $(CARGO_FLAGS) --profile dev --bench '*' -- $(ARGS)

clean: ## remove everything that was built, RocksDB included
	cargo clean

# RocksDB wants a C++ compiler and, to read its header, libclang with clang's own headers.
define SETUP
if ! command -v cargo >/dev/null; then
  echo 'cargo is missing: install Rust 1.88 or newer (https://rustup.rs); the one of Debian 12 is too old' >&2
  exit 1
fi
missing=()
command -v c++ >/dev/null || missing+=(g++)
if [ -z "$${LIBCLANG_PATH:-}" ]; then
  if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f='$${db:Status-Abbrev}\n' 'libclang-*-dev' 2>/dev/null | grep -q ^ii || missing+=(libclang-dev)
  else
    ldconfig -p | grep -q libclang || missing+=(libclang-dev)
  fi
fi
[ $${#missing[@]} -gt 0 ] || exit 0
if ! command -v apt-get >/dev/null; then as_root=unable
elif [ "$$(id -u)" = 0 ]; then as_root=
elif sudo -n true 2>/dev/null; then as_root='sudo -n'
else as_root=unable; fi
if [ "$$as_root" = unable ]; then
  echo "missing: $${missing[*]} (Debian's names). Install them, for example: sudo apt-get install $${missing[*]}" >&2
  exit 1
fi
echo "installing $${missing[*]}"
$$as_root apt-get -o DPkg::Lock::Timeout=120 -qq update
$$as_root env DEBIAN_FRONTEND=noninteractive \
  apt-get -o DPkg::Lock::Timeout=120 -qq install -y --no-install-recommends ca-certificates "$${missing[@]}"
endef
export SETUP

setup:
	@bash -euo pipefail -c "$$SETUP"
