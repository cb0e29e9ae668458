# Two commands on a fresh machine: make run, make test.
SHELL := /bin/bash
.PHONY: help run test bench build clean up-production

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run:  ## installs what is missing, builds, starts the server and builds a demo project before your eyes
	@scripts/demo

test:  ## installs what is missing, builds and runs every test
	@scripts/test

bench:  ## measures the bars of the design on this machine
	@scripts/bench

up-production:  ## PostgreSQL, Kafka, Redis, S3 and two processes of every role on this machine
	@scripts/production up

build:  ## builds the programs into build/release/bin
	@scripts/install-deps
	@. scripts/lib.sh && build_preset release mayfly mayfly-runner mayfly-init

clean:  ## removes what was built
	rm -rf build
