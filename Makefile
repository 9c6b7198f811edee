# What a contributor types. CI runs .ci/run, which `make check` calls.

.DEFAULT_GOAL := help
SOAK ?= 1h
ROUNDS ?= 2000
SEED ?= 0
FUZZ ?= 30s

.PHONY: help build check quick lint fmt test race proof soak fuzz bench swarm clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/agentdb
	CGO_ENABLED=0 go build -trimpath -o bin/agentdb ./cmd/agentdb

check: ## everything that CI checks, some 15 minutes
	.ci/run

quick: ## what to run before each commit, some 3 minutes
	.ci/run format vet lint test

lint: ## the linter alone; the first time builds it
	.ci/run lint

fmt: ## format all Go files
	gofmt -s -w $$(git ls-files '*.go')

test: ## the tests
	go test ./...

race: ## the tests under the race detector
	.ci/run race

proof: ## ROUNDS=2000 rounds of the property test; SEED=0 is a new seed
	go test -count=1 -timeout 0 ./internal/proof -run 'TestReplicas|TestPushModeDense' -proof.rounds=$(ROUNDS) -proof.seed=$(SEED)

soak: ## the property test for SOAK=1h
	go test -count=1 -timeout 0 ./internal/proof -run TestSoak -proof.soak=$(SOAK) -proof.seed=$(SEED)

fuzz: ## every fuzz target for FUZZ=30s
	FUZZ_TIME=$(FUZZ) .ci/run fuzz

bench: ## all measurements, some 20 minutes; see bench/README.md
	cd bench && npm install --no-package-lock && go run . all

swarm: ## the example that proves the rest
	go run ./examples/swarm

clean: ## what the others made
	rm -rf bin bench/work
