GO ?= go

.PHONY: build test lint race emul emul-short emul-asan kernels generate demo tdd bench clean

build:
	$(GO) build -o bin/magvit ./cmd/magvit

# What CI and the README call. Needs Go, and g++ for the race detector and the emulator;
# without ffmpeg the tests of video files are skipped, and say so.
test: build lint race emul-short
	$(GO) test ./...

lint:
	@changed="$$(gofmt -l cmd gpu kernels model trainer)"; test -z "$$changed" || { echo "gofmt would change:"; echo "$$changed"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck -checks inherit,-ST1005,-S1016 ./... # errors begin with names of fields (T, H, W); literals name theirs

# Without the tests that only train for longer, or work on files alone.
race:
	$(GO) test -race -short -skip 'LossDecreases|ReconstructionImproves|Import|Export' ./trainer ./trainer/data

# The .cu files on the CPU: every kernel against its definition, with the threads in
# three orders, and whole training steps. Then, minutes, seeded errors in the
# sources: each must be found.
emul: emul-short
	$(GO) test -tags emul -run TestMutationsAreCaught ./gpu

emul-short:
	$(GO) vet -tags emul ./kernels/emul ./gpu
	$(GO) test -short -tags emul ./kernels/emul ./gpu

# The same with every access to memory checked.
emul-asan:
	$(GO) test -short -asan -tags emul ./kernels/emul ./gpu

# nvcc: that of CUDA_HOME or PATH, else wheels of NVIDIA in an ignored folder.
NVCC := $(firstword $(wildcard $(CUDA_HOME)/bin/nvcc) $(shell command -v nvcc) .tools/cuda/nvidia/cu13/bin/nvcc)
ARCHS := sm_80 sm_90 sm_100

.tools/cuda/nvidia/cu13/bin/nvcc:
	python3 -m pip install --quiet --no-deps --target .tools/cuda nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 \
	  nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85

# The .cu files for the architectures of ARCHS; a kernel that spills registers is an error.
kernels: $(NVCC)
	@for arch in $(ARCHS); do mkdir -p bin/kernels/$$arch; for f in kernels/*.cu; do \
	  out=bin/kernels/$$arch/$$(basename $$f .cu); \
	  $(NVCC) -std=c++17 -O3 -Werror all-warnings -cubin -arch=$$arch -Xptxas -v -o $$out.cubin $$f >$$out.log 2>&1 || { cat $$out.log; exit 1; }; \
	  if grep "spill" $$out.log | grep -qv " 0 bytes spill stores, 0 bytes spill loads"; then cat $$out.log; echo "$$f spills registers on $$arch"; exit 1; fi; \
	done; echo "$$arch: $$(cat bin/kernels/$$arch/*.log | grep -c 'Compiling entry function') kernels, no spills"; done

generate:
	$(GO) generate ./...

# From nothing to a report: 200 clips, three minutes of training, an evaluation of
# the held-out clips. Called again it shows what is there; make clean forgets it.
demo: build
	bin/magvit synth --clips 200 --out runs/demo-clips.npz
	bin/magvit train --preset demo --data runs/demo-clips.npz --out runs/demo
	bin/magvit eval --checkpoint runs/demo --data runs/demo-clips.npz --split val
	@echo "The report, with curves and clips beside their reconstructions: $$PWD/runs/demo/report.html"

# make tdd TEST=TestLossDecreases STAGE=red|green|refactor records what go test prints.
tdd:
	@test -n "$(TEST)" -a -n "$(STAGE)" || { echo "usage: make tdd TEST=TestName STAGE=red|green|refactor"; exit 2; }
	@mkdir -p testdata/tdd
	@{ echo "# $(TEST), $(STAGE)"; echo "# $$(date -u +%Y-%m-%dT%H:%M:%SZ), commit $$(git rev-parse --short HEAD 2>/dev/null || echo none)$$(test -z "$$(git status --porcelain)" || echo ' with changes')"; \
	  echo '$$ go test -count=1 -v -run ^$(TEST)$$ ./trainer'; \
	  $(GO) test -count=1 -v -run '^$(TEST)$$' ./trainer 2>&1; echo "exit $$?"; } | tee testdata/tdd/$(TEST).$(STAGE).txt

# Each kernel against its definition, then whole training steps.
bench: build
	bin/magvit bench
	bin/magvit bench step --preset tiny
	bin/magvit bench step --preset demo --explain

clean:
	rm -rf bin runs/demo runs/demo-clips.npz
