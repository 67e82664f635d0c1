# mycontainer: what can be done from a clone. `make help` lists it.

SHELL := /bin/bash
PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
# Release builds are always linked with the static standard library and tests never are, so that the two
# configurations keep a build folder each (.build/release, .build/debug) and never relink each other.
# Types are named to the compiler, not looked up by name when the program runs: a short command saves a fifth of its time.
RELEASE_FLAGS := -c release --static-swift-stdlib --disable-index-store \
	-Xswiftc -Xfrontend -Xswiftc -disable-concrete-type-metadata-mangled-name-accessors
PROGRAMS := mycontainer mycontainerd mycontainer-runtime
SOURCES := $(shell find Sources Package.swift -name '*.swift' -o -name '*.[ch]' -o -name module.modulemap)
REGISTRY := images/registry

export SWIFT_BACKTRACE := enable=no
export MYCONTAINER_BIN ?= $(CURDIR)/bin
export MYCONTAINER_REGISTRY ?= $(CURDIR)/$(REGISTRY)

.PHONY: help setup build images test test-unit test-integration test-clients test-runtime test-crash test-vm bench lint format \
	bench-networks test-defences test-seccomp fuzz demo install uninstall clean

help: ## what the targets do
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install the Debian packages that building, running and testing need (as root)
	@scripts/setup build test

build: $(addprefix bin/,$(PROGRAMS)) ## build the three programs into bin/, release mode

$(addprefix bin/,$(PROGRAMS)) &: $(SOURCES)
	@scripts/setup --check build
	$(SWIFT) build $(RELEASE_FLAGS)
	@mkdir -p bin
	@directory=$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path) && \
	for program in $(PROGRAMS); do install -m 0755 "$$directory/$$program" "bin/$$program"; done

images: ## make images/registry/: busybox, debian and redis, from Debian packages
	@scripts/setup --check build
	scripts/images/build --output $(REGISTRY)

test: build images ## everything: unit, root integration, clients, the runtime alone, crash injection, a VM
	scripts/test unit integration clients runtime crash vm

test-unit: ## unit tests
	scripts/test unit

test-integration: build images ## the built programs driven as root, with a private daemon a test
	scripts/test integration

test-clients: build images ## the docker CLI, docker-py, docker-compose and testcontainers against our daemon
	scripts/test clients

test-runtime: build images ## podman, containerd and dockerd on our runtime; its cases side by side with runc and crun
	scripts/test runtime

test-crash: build images ## SIGKILL after every mutating system call (CRASH=full for each one, else a sample)
	scripts/test crash

test-vm: build images ## Debian's kernel with pure cgroup v2, in a virtual machine, bare and under systemd
	scripts/test vm

test-defences: ## take each defence away and see that its test fails; long: one build a round
	scripts/defences

test-seccomp: build images ## every system call under docker's profile and under ours, from inside
	scripts/seccomp/compare

fuzz: ## hostile bytes for every parser, SECONDS (60) for each one; needs no other build
	scripts/fuzz --seconds $(or $(SECONDS),60)

bench: build images ## ours, docker, crun, runc and the kernel's floor side by side
	scripts/bench/run

bench-networks: build images ## hundreds of containers on one network, names under load (COUNT=500)
	scripts/bench/networks $(or $(COUNT),500)

lint: ## swift format and shellcheck, strictly
	scripts/lint

format: ## rewrite the sources as lint wants them
	$(SWIFT) format --in-place --recursive --parallel Sources Tests Package.swift

demo: ## the whole main job, told step by step; installs what it needs, leaves nothing behind
	@scripts/setup build
	@$(MAKE) --no-print-directory build images
	@scripts/demo

install: build ## install programs, systemd unit, completions and man pages (DESTDIR, PREFIX)
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install install

uninstall: ## remove what install put there
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install uninstall

clean: ## remove what was built
	rm -rf .build .build-* bin $(REGISTRY) images/cache
