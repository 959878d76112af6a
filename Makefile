# Strongroom. `make help` lists the targets; `make image` is the whole product in one go.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS   += --no-builtin-rules

CACHE   := $(or $(STRONGROOM_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/strongroom)
VERSION := $(shell tools/version)
PACKER  := $(shell tools/build --path packer)

# The server of the image, vault or openbao, and its program: yours, or the Vault that `make tools` builds. No Go module
# builds OpenBao (its go.mod has replace directives), so its program is always yours.
SERVER         ?= vault
VAULT_BINARY   ?= $(shell tools/build --path vault)
OPENBAO_BINARY ?=
SERVER_BINARY  ?= $(if $(filter openbao,$(SERVER)),$(OPENBAO_BINARY),$(VAULT_BINARY))
OUTPUT         ?= out/image

# Where the plugin is installed: apart from the plugins of the user's other work.
export PACKER_PLUGIN_PATH  := $(CACHE)/plugins
export PACKER_CONFIG_DIR   := $(CACHE)
export CHECKPOINT_DISABLE  := 1
export STRONGROOM_CACHE    := $(CACHE)
PLUGIN_SOURCE              := github.com/strongroom/strongroom

GO       := go
GO_BUILD := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.buildVersion=$(VERSION)'

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  %s\n' 'SERVER=openbao SERVER_BINARY=/path  an image of OpenBao, with this program (default: Vault, built by make tools)' \
		'OUTPUT=dir                          another output directory (default out/image)'

##@ Build

.PHONY: deps
deps: ## install the Debian packages that are missing (as root), or name the command that does
	@tools/deps

.PHONY: build
build: ## build bin/imagebuild, bin/hostcheck and bin/packer-plugin-strongroom
	@mkdir -p bin
	$(GO_BUILD) -o bin/ ./cmd/imagebuild
	@# HTTP/2 costs each run on a node half a MiB; neither Vault nor what scrapes or is asked needs it.
	$(GO_BUILD) -tags nethttpomithttp2 -o bin/ ./cmd/hostcheck
	@ln -f bin/imagebuild bin/packer-plugin-strongroom

.PHONY: tools
tools: ## build Packer and Vault from their pinned Go modules, once per version
	@tools/build packer $(if $(filter $(shell tools/build --path vault),$(VAULT_BINARY) $(SERVER_BINARY)),vault)

.PHONY: plugin-install
plugin-install: build tools ## install the plugin, with hostcheck beside it, where `make image` looks for it
	@# A version that is no longer built must not win over the one that is.
	@rm -rf '$(PACKER_PLUGIN_PATH)/$(PLUGIN_SOURCE)'
	@$(PACKER) plugins install --path bin/packer-plugin-strongroom $(PLUGIN_SOURCE) >/dev/null
	@install -m 755 bin/hostcheck '$(PACKER_PLUGIN_PATH)/$(PLUGIN_SOURCE)/hostcheck'

##@ Image

.PHONY: image
image: deps plugin-install ## bake the golden image, boot it, and print what the node reports
	@[[ -n '$(SERVER_BINARY)' ]] || { echo 'make image: SERVER=$(SERVER) needs its program: SERVER_BINARY=/path/to/bao' >&2; exit 64; }
	@mkdir -p '$(dir $(OUTPUT))'
	$(PACKER) build -force -var 'server=$(SERVER)' -var 'server_binary=$(SERVER_BINARY)' -var 'output_directory=$(OUTPUT)' packer/local.pkr.hcl
	@$(MAKE) --no-print-directory image-proof

.PHONY: image-proof
image-proof: ## boot the image in OUTPUT and print what the node reports
	@bin/imagebuild prove --image '$(OUTPUT)'

##@ Install

PREFIX  ?= /usr/local
DESTDIR ?=

.PHONY: install
install: build ## install both programs with manual pages, completion and units, none of them enabled (DESTDIR=, PREFIX=/usr/local)
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' tools/install hostcheck imagebuild

.PHONY: packages
packages: build ## make hostcheck's .deb and .rpm in out/packages, for hosts that were not baked
	@tools/package out/packages

##@ Check

.PHONY: check
check: lint ## lint and the unit tests: what to run before every commit
	$(GO) test ./...

.PHONY: lint
lint: ## format, vet and staticcheck
	@unformatted=$$(gofmt -l cmd hardening internal systemd tools); \
		if [[ -n $$unformatted ]]; then echo "not formatted (gofmt -w): $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags bake,boot,slow ./...
	$(GO) vet -tags boot,install ./internal/lab
	@tools/build staticcheck
	$$(tools/build --path staticcheck) -tags bake,boot,slow ./...
	@! grep -rn 'could not find type' --include='*.hcl2spec.go' . || { echo 'a field of the configuration has a type that HCL cannot carry' >&2; exit 1; }

.PHONY: check-generated
check-generated: ## fail when a generated file is not what its source says
	@before=$$(tools/generate --digest); tools/generate; \
		if [[ $$before != $$(tools/generate --digest) ]]; then \
			echo 'generated files were stale; they have been made again: review and commit them' >&2; git status --short $$(tools/generate --list) >&2; exit 1; fi

.PHONY: plugin-check
plugin-check: build ## packer-sdc's own check of the plugin
	@tools/build packer-sdc
	@cd bin && "$$(../tools/build --path packer-sdc)" plugin-check packer-plugin-strongroom

.PHONY: test
test: deps plugin-install lint check-generated ## everything: checks, real bakes, boots in QEMU
	@tools/build packer-gob
	STRONGROOM_PACKER='$(PACKER)' VAULT_BINARY='$(VAULT_BINARY)' OPENBAO_BINARY='$(OPENBAO_BINARY)' \
		$(GO) test -tags bake,boot -p 1 -count 1 -timeout 60m ./...

.PHONY: test-slow
test-slow: deps plugin-install ## make test, and what takes too long for it: the other distribution, memory locked
	@tools/build otelcol packer-gob goreleaser nfpm packer-plugin-amazon packer-plugin-googlecompute packer-plugin-vsphere
	STRONGROOM_PACKER='$(PACKER)' VAULT_BINARY='$(VAULT_BINARY)' OPENBAO_BINARY='$(OPENBAO_BINARY)' \
		$(GO) test -tags bake,boot,slow -p 1 -count 1 -timeout 180m ./...

.PHONY: test-install
test-install: deps tools ## Debian's installer makes a node in QEMU, from the network to the gate: an hour and more without KVM
	VAULT_BINARY='$(VAULT_BINARY)' $(GO) test -tags boot,install -run TestInstall -p 1 -count 1 -v -timeout 600m ./internal/lab

.PHONY: fuzz
fuzz: ## a million executions of every parser's fuzz target, one after the other: hours (FUZZTIME=10s for a look)
	@tools/fuzz

.PHONY: bench
bench: deps plugin-install ## measure bakes and checks, printed with the machine's description
	@tools/build goss
	@printf 'machine: %s, %s processors, %s\n' "$$(awk -F': ' '/model name/ { print $$2; exit }' /proc/cpuinfo)" "$$(nproc)" \
		"$$(awk '/MemTotal/ { printf "%.0f GiB of memory", $$2 / 1048576 }' /proc/meminfo)"
	GOSS="$$(tools/build --path goss)" STRONGROOM_PACKER='$(PACKER)' VAULT_BINARY='$(VAULT_BINARY)' OPENBAO_BINARY='$(OPENBAO_BINARY)' \
		$(GO) test -tags bake -run '^$$' -bench . -benchtime 3x -p 1 -timeout 60m ./internal/...
	$(GO) test -run '^$$' -bench 'Idle|Drift' -benchtime 1x -v ./cmd/hostcheck
	VAULT_BINARY='$(VAULT_BINARY)' $(GO) test -tags boot -run '^$$' -bench InGuest -benchtime 1x -timeout 60m ./internal/lab

##@ House

.PHONY: generate
generate: ## make the generated files again: HCL specs, builder reference, CONTROLS.md
	@tools/generate

.PHONY: fixtures
fixtures: deps plugin-install ## record a real node again, for the tests that replay one
	VAULT_BINARY='$(VAULT_BINARY)' $(GO) test -tags boot,record -run TestRecordNode -count 1 -timeout 20m ./internal/lab

.PHONY: clean
clean: ## remove what was built and baked here; tools and base trees stay in the cache
	rm -rf bin out .build
