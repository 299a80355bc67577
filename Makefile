# Two cores are enough for everything here; `make help` lists what there is.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# Which Kafka the demo, the figures and the tests of the sandbox run.
export KAFKA_VERSION ?= 3.7.1
# The version is stamped by the linker; a build need not ask git again.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

LINT = $(GO) tool -modfile=tools/golangci-lint/go.mod golangci-lint
TEST = $(GO) test -race -shuffle=on

.DEFAULT_GOAL := build
.PHONY: build deb deb-test test packages brokers shapes matrix network e2e e2e-figures first-hour soak fleet mutants vet lint fmt prometheus demo bench clients release setup clean help

##@ Daily

build: ## build bin/kpls-agent
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version='"$$(packaging/version.sh "$(VERSION)" 2>/dev/null || echo devel)" -o bin/kpls-agent ./cmd/kpls-agent

test: packages ## all tests; the last ones on real brokers, fetched by Maven
	@$(MAKE) --no-print-directory brokers

# The simulation and the exploration have no goroutines of their own: the race detector would find nothing
# in them, and take seven times as long.
# The package that takes longest comes first, then those that wait for brokers; the others run at the same time.
packages: setup vet ## all tests but those of a roll-out on real brokers
	@test/setup.sh deb
	$(GO) test -shuffle=on -timeout 30m ./test/sim
	cd test/explore && $(GO) test -shuffle=on -timeout 30m
	$(TEST) -timeout 40m -p 3 ./internal/kafka \
	  $$($(GO) list ./test/... | grep -vE '/test/(e2e|explore|sim|system)$$') ./cmd/... ./internal/...

brokers: setup ## only the tests of a roll-out on real brokers; V=-v says how far they are
	$(TEST) -timeout 40m $(V) ./test/e2e

lint: ## golangci-lint with .golangci.yml, functions that nothing calls, known vulnerabilities, words
	$(LINT) config verify
	$(LINT) run
	@dead=$$($(GO) tool -modfile=tools/deadcode/go.mod deadcode -tags soak,shapes,matrix,network -test ./...) || exit 1; \
	  [ -z "$$dead" ] || { printf '%s\n' "$$dead" 'remove these: nothing calls them, no test either'; exit 1; }
	$(GO) test ./test/repo -run '^(TestRules|TestWords|TestWidth)$$'
	@GO="$(GO)" VULNDB="$(VULNDB)" test/govulncheck.sh

fmt: ## format all Go files
	$(LINT) fmt

# With -race: the tests then find everything compiled.
vet:
	$(GO) vet -race ./...
	$(GO) vet -race -tags crashpoints ./cmd/...
	$(GO) vet -tags soak ./test/sim ./test/explore
	$(GO) vet -race -tags shapes,matrix ./test/e2e
	$(GO) vet -tags network ./test/network

# Built and then run, not by `go run`: a signal must reach the program itself.
demo: setup ## a roll-out, a bad manifest and its rollback, live on one screen
	$(GO) build -o bin/demo ./test/demo
	@exec bin/demo

deb: ## build dist/kpls-agent_VERSION_{amd64,arm64}.deb
	GO="$(GO)" packaging/build.sh "$(VERSION)"

deb-test: ## only the tests of the package
	@test/setup.sh deb
	$(TEST) -timeout 10m -v ./test/deb

setup: ## install what the tests and the demo need and this machine lacks
	@test/setup.sh

clean: ## remove what was built; fetched jars stay in .cache
	rm -rf bin dist coverage.out

help: ## this list
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

##@ Before a release

# Built and then run: a signal must reach the test, which then removes its machines.
e2e: setup deb ## as root: the package on three machines with systemd, and every fault; DEBIAN=trixie for another release
	@test/setup-machines.sh
	$(GO) test -race -c -o bin/e2e ./test/system
	@cd test/system && exec ../../bin/e2e -test.v -test.failfast

# SEEDS and FUZZ say how many seeds, and how long each fuzz target.
SEEDS ?= 100000
FUZZ  ?= 3m
soak: ## the simulation for an hour, the large explorations, every deliberate fault, and the fuzz targets
	SIM_RUNS=$(SEEDS) $(GO) test -count=1 -timeout 6h -run '^TestSimulation$$' ./test/sim
	cd test/explore && $(GO) test -tags soak -count=1 -timeout 2h -run '^Test(Large|Pairs)$$'
	$(GO) test -tags soak -count=1 -timeout 3h -run '^TestMutants' ./test/sim
	test/fuzz.sh $(FUZZ)

# Tests of test/e2e with the build tag are named TestMatrix...; each writes its table.
matrix: setup ## what takes too long for every run on real brokers, and the tables of docs/matrix.md
	MATRIX=write $(TEST) -tags matrix -count=1 -timeout 90m -v -run '^TestMatrix' ./test/e2e

shapes: setup ## clusters of other shapes on real brokers, and the table of docs/clusters.md
	SHAPES=write $(TEST) -tags shapes -count=1 -timeout 40m -v -run '^TestShapes$$' ./test/e2e

network: ## what `render` writes, read by OpenTofu and Azure's own types; builds OpenTofu once
	@GO="$(GO)" test/network/setup.sh
	$(GO) test -tags network -count=1 -timeout 20m $(V) ./test/network
	cd test/network/arm && $(GO) test -count=1 ./...

prometheus: setup ## metrics, rules and dashboard in a real Prometheus that scrapes real agents
	$(TEST) -timeout 20m -v ./test/prometheus

# It makes no tag: the last line that it prints is the command for that.
release: ## notes, packages and checksums of VERSION=v1.2.3 below dist/, from a clean checkout
	GO="$(GO)" packaging/release.sh "$(VERSION)"

##@ Figures and tables of the documents

bench: setup ## measure, and write the figures to files
	$(GO) build -o bin/bench ./test/bench
	@exec bin/bench

# ROUNDS says how often each kind of roll-out is measured.
clients: setup ## only what clients feel of a roll-out, ROUNDS times, by what can be compared
	$(GO) build -o bin/bench ./test/bench
	@exec bin/bench clients

e2e-figures: setup deb ## as root: what takes long on the machines, and the figures, in docs/system.json
	@test/setup-machines.sh
	$(GO) test -race -c -o bin/e2e ./test/system
	@cd test/system && FIGURES=1 exec ../../bin/e2e -test.v -limit 60m

first-hour: setup deb ## as root: what a new operator types in the first hour, on the machines, and docs/first-hour.md
	@test/setup-machines.sh
	$(GO) test -race -c -o bin/e2e ./test/system
	@cd test/system && HOUR=1 exec ../../bin/e2e -test.v

fleet: ## roll out over hundreds of simulated brokers, and write the table of docs/simulation.md
	$(GO) test -tags soak -count=1 -timeout 2h -v -run '^TestLargeFleet$$' ./test/sim

mutants: ## find every deliberate fault, and write the table of docs/simulation.md
	SIM_WRITE=1 $(GO) test -tags soak -count=1 -timeout 3h -v -run '^TestMutants' ./test/sim
