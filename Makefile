.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip's own settings (index, find-links, certificates) decide where packages come from.
READY := $(VENV)/.ready
FUZZ_SECONDS := 600
TORCH := cpu

.PHONY: help setup demo demo-retraining test test-runs test-seams test-stores test-trl test-containers images fuzz-reading lint bench-reliability bench-scale bench-reading bench-retraining bench-speed bench-gpu yaml yaml-check lock clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: $(READY)  ## Create .venv from the lock file

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python3 >= 3.11 is needed, found " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock setuptools
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --no-build-isolation --editable '.[train,dev]'
	@touch $@

demo: $(READY)  ## Simulate noisy annotations, train, report, evaluate and promote (about a minute)
	$(BIN)/repo-pipeline demo

demo-retraining: $(READY)  ## Simulate two weeks of nightly retraining, and write a page on them (under 12 minutes on two cores)
	$(BIN)/repo-pipeline fortnight

# Two tests at once on two cores: with more than a thread each, torch's threads mostly wait for each other.
test: $(READY)  ## Run the test suite (under 8 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-runs: $(READY)  ## Whole runs: model lines, retraining, runs that are killed or stopped, secrets (under 25 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow

test-seams: $(READY)  ## Run the pipeline where its features meet, two by two (under 12 minutes on two cores)
	$(BIN)/python -m pytest tests/seams -n 2 --maxschedchunk 1

test-stores: $(VENV)-stores/.ready  ## Read from an S3 server of the test's own, through the real driver
	$(VENV)-stores/bin/python -m pytest tests/stores

images: $(READY) $(VENV)-sbom/.ready  ## Build the steps' container images (TORCH=cuda: for GPUs) and their bills of materials
	$(BIN)/python infra/images/build.py --torch $(TORCH) $(if $(SOURCE),--source $(SOURCE))

test-trl: $(VENV)-speed/.ready  ## Train with RE-PO inside TRL, and beside our own trainer; Liger's head beside ours (about two minutes)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(VENV)-speed/bin/python -m pytest tests/trl

test-containers: images  ## Run the images, and the pipeline in them (needs a Docker engine; .ci/engine DIR starts one)
	$(BIN)/python -m pytest tests/containers -n 2 --dist loadfile

fuzz-reading: $(VENV)-fuzz/.ready  ## Read files changed at random (FUZZ_SECONDS=600): a table or an error in words
	$(VENV)-fuzz/bin/python -m tests.fuzzing.reading --seconds $(FUZZ_SECONDS)

lint: $(READY)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-reliability: $(VENV)-bench/.ready  ## Measure the reliability estimates against their targets and peers (under 25 minutes; needs 8 GB)
	$(VENV)-bench/bin/python -m benchmarks.reliability.run

bench-scale: $(READY)  ## Measure memory and time of large inputs against their targets (about an hour; needs 24 GB)
	$(BIN)/python -m benchmarks.scale.run

bench-reading: $(READY)  ## Measure reading a million rows beside the datasets library alone (about ten minutes; needs 4 GB)
	$(BIN)/python -m benchmarks.reading.run

bench-retraining: $(READY)  ## Measure passes over an inbox: the look, who has changed, warm against cold start (about three minutes)
	$(BIN)/python -m benchmarks.retraining.run

bench-speed: $(VENV)-speed/.ready  ## Measure the training engine's speed and memory beside TRL (three quarters of an hour on two cores; needs 12 GB)
	$(VENV)-speed/bin/python -m benchmarks.speed.run

bench-gpu: $(VENV)-speed/.ready  ## Measure the training engine on a GPU beside TRL (six minutes at most; sized for a card of 80 GB)
	$(VENV)-speed/bin/python -m benchmarks.gpu.run

# An extra of pyproject beside the lock (bench, speed: the peers; fuzz; stores) lives in an environment of its own that sees
# everything in $(VENV) and may shadow nothing of it: peers are measured with the locked numpy and pandas, and torch is
# not installed twice.
$(VENV)-%/.ready: $(READY)
	rm -rf $(VENV)-$*
	$(BIN)/python -m venv --without-pip $(VENV)-$*
	for site in $(VENV)-$*/lib/python*/site-packages; do \
	  echo "../../../../$(VENV)/$${site#$(VENV)-$*/}" > "$$site/locked.pth"; \
	done
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$*"], sep="\n")' > $(VENV)-$*/extra.txt
	$(BIN)/python -m pip --python $(VENV)-$*/bin/python install --quiet --constraint requirements.lock --requirement $(VENV)-$*/extra.txt
	@touch $@

yaml: $(READY)  ## Compile the pipelines to pipelines/compiled/
	$(BIN)/repo-pipeline compile --output pipelines/compiled

yaml-check: $(READY)  ## Fail when the committed pipeline YAML is stale
	$(BIN)/repo-pipeline compile --output pipelines/compiled --check

EXTRAS := train dev s3 gcs azure server postgres

# One lock for every environment, which takes of it what it needs. The file as it stands is uv's preference; torch's
# CPU build stands for every build of that version.
lock: $(READY)  ## Lock what pyproject.toml asks for, keeping what is locked (RENEW=--upgrade: renewing all of it)
	$(BIN)/python -m pip install --quiet uv
	sed -i -E 's/^torch==[0-9.]+$$/&+cpu/' requirements.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 $(addprefix --extra ,$(EXTRAS)) $(RENEW) --no-annotate --no-header \
	  --no-emit-find-links --no-emit-index-url \
	  $(addprefix --find-links ,$(shell $(BIN)/python -m pip config get global.find-links 2>/dev/null)) \
	  --output-file requirements.lock pyproject.toml
	sed -i -E 's/^(torch==[0-9.]+)\+cpu/\1/' requirements.lock

clean:  ## Remove the environments and caches (not .repo/)
	rm -rf $(VENV) $(VENV)-* .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
