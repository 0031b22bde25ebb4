# Every target is a script that also runs on a machine without make. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build run check fix test compat bench release

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what build and tests need and is missing
	@scripts/setup.sh all

build: ## the release binary; its path is the last line
	@scripts/build.sh

run: ## build and start a server; ARGS="-dir=/data -s3.port=9000"
	@scripts/run.sh $(ARGS)

check: ## format, lints, repository rules, docs; writes nothing
	@scripts/check.sh

fix: ## what check can mend by itself: format, lints, format-document hashes
	@scripts/setup.sh build
	@cargo fmt --all
	@scripts/cargo.sh clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	@scripts/cargo.sh run -q -p xtask -- tidy --fix

test: ## everything, in CI sizes; SKIP=powercut,diskfaults leaves out tests by name
	@SKIP="$(SKIP)" scripts/test.sh

compat: ## the compatibility tests in full sizes; ARGS="--only crash"
	@SKIP="$(SKIP)" scripts/compat.sh $(ARGS)

bench: ## halofs against weed on this machine; writes docs/benchmarks/
	@scripts/bench.sh $(ARGS)

release: ## the binary with RocksDB built from source and linked statically (most of an hour)
	@env -u ROCKSDB_LIB_DIR HALOFS_VENDORED=1 scripts/build.sh
