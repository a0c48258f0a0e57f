GO ?= go

.PHONY: build test lint race emul emul-short emul-asan cuda-tools kernels gpu gpu-test sass sass-sm90a generate demo tdd bench clean

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
# three orders, whole training steps, golden values of layers, quantizers and a
# network. Then, minutes, all golden values, and seeded errors in the sources: each
# must be found.
emul: emul-short
	$(GO) test -tags emul -run TestGoldenEmulated ./model
	$(GO) test -timeout 30m -tags emul -run Mutations ./gpu

emul-short:
	$(GO) vet -tags emul ./kernels/emul ./gpu ./model
	$(GO) test -short -tags emul ./kernels/emul ./gpu
	$(GO) test -short -tags emul -run TestGoldenEmulated ./model

# The same with every access to memory checked.
emul-asan:
	$(GO) test -short -asan -tags emul ./kernels/emul ./gpu
	$(GO) test -short -asan -tags emul -run TestGoldenEmulated ./model

# nvcc: that of CUDA_HOME or PATH, else wheels of NVIDIA in an ignored folder. cuda.h,
# which gorgonia.org/cu compiles with: that of an installed CUDA 12, else a wheel.
NVCC := $(firstword $(wildcard $(CUDA_HOME)/bin/nvcc) $(shell command -v nvcc) .tools/cuda/nvidia/cu13/bin/nvcc)
CUDA_H := $(firstword $(shell grep -ls 'define CUDA_VERSION 12' $(CUDA_HOME)/include/cuda.h /usr/local/cuda/include/cuda.h) \
  .tools/cuda12/nvidia/cuda_runtime/include/cuda.h)
PIP := python3 -m pip install --quiet --disable-pip-version-check --no-deps --target

.tools/cuda/nvidia/cu13/bin/nvcc:
	$(PIP) .tools/cuda nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 \
	  nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85

.tools/cuda12/nvidia/cuda_runtime/include/cuda.h:
	$(PIP) .tools/cuda12 nvidia-cuda-runtime-cu12==12.9.79

# Only what compiles: CI asks whether it can be had.
cuda-tools: $(NVCC) $(CUDA_H)

# Code for these architectures and, for those to come, PTX of the first. What the nvcc
# at hand does not know is left out. NAME_sm90a.cu is compiled for sm_90a alone.
ARCHS := 80 86 89 90a 100 120
FATBINS := $(patsubst kernels/%.cu,gpu/fatbin/%.fatbin,$(wildcard kernels/*.cu))

# Kernels with small arrays, of up to 144 bytes, in memory of a thread.
STACKED := ^taylor_[a-z_]*_16(_half)?$$

# Errors: a kernel that spills registers; one of no such name with a stack; products of a
# warpgroup that the assembler serialized (C75xx).
gpu/fatbin/%.fatbin: kernels/%.cu $(wildcard kernels/*.cuh) | $(NVCC)
	@mkdir -p gpu/fatbin bin/kernels
	@known=" $$($(NVCC) --list-gpu-code | tr '\n' ' ') "; gencode=; \
	for a in $(if $(filter %_sm90a,$*),90a,$(ARCHS)); do case "$$known" in *" sm_$${a%a} "*) \
	  gencode="$$gencode -gencode arch=compute_$$a,code=sm_$$a";; esac; done; \
	$(if $(filter %_sm90a,$*),,gencode="$$gencode -gencode arch=compute_$(firstword $(ARCHS)),code=compute_$(firstword $(ARCHS))";) \
	log=bin/kernels/$*.log; \
	$(NVCC) -std=c++17 -O3 -Werror all-warnings -fatbin -Xfatbin -compress-all -Xptxas -v $$gencode -o $@.part $< >$$log 2>&1 || { cat $$log; exit 1; }; \
	if grep spill $$log | grep -qv " 0 bytes spill stores, 0 bytes spill loads"; then cat $$log; echo "$< spills registers"; exit 1; fi; \
	if grep C75 $$log; then echo "$< has serialized products"; exit 1; fi; \
	awk '/Function properties for/ { k = $$NF } /bytes stack frame/ && $$1 > 0 && k !~ /$(STACKED)/ { print k " has a stack of " $$1 " bytes"; bad = 1 } END { exit bad }' $$log || exit 1; \
	mv $@.part $@

# The list is part of the program: doctor and errors about a device show it.
gpu/fatbin/built.txt: $(FATBINS)
	@{ grep -oh "for 'sm_[0-9a]*'" $(FATBINS:gpu/fatbin/%.fatbin=bin/kernels/%.log) | grep -o 'sm_[0-9a]*' | sort -uV | tr '\n' ' '; \
	  echo "compute_$(firstword $(ARCHS))"; $(NVCC) --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p'; } >$@

# The .cu files for all architectures. What is left of a source that is gone would be
# part of the program.
kernels: gpu/fatbin/built.txt
	@cd gpu/fatbin && for f in *.fatbin; do test -f ../../kernels/$${f%.fatbin}.cu || rm $$f; done
	@for a in $$(head -1 $< | tr ' ' '\n' | grep sm_); do echo "$$a: $$(cat bin/kernels/*.log | grep -c "Compiling entry function .* for '$$a'") kernels, no spills"; done

# bin/magvit with the code for GPUs. libcuda is opened when it is needed; what stands in
# for it when linking is an empty script.
WITH_CUDA = CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$(abspath $(dir $(CUDA_H)))" CGO_LDFLAGS=-L$(CURDIR)/.tools/stub $(GO)

.tools/stub/libcuda.so:
	@mkdir -p .tools/stub && echo '/* libcuda.so.1 is opened at run time */' >$@

gpu: kernels .tools/stub/libcuda.so $(CUDA_H)
	$(WITH_CUDA) build -tags gpu -o bin/magvit ./cmd/magvit
	@echo "bin/magvit with GPU code: $$(head -1 gpu/fatbin/built.txt)"

# The driver and the command line on a libcuda that runs the kernels on the host.
gpu-test: gpu
	$(WITH_CUDA) vet -tags gpu,emul ./gpu ./cmd/magvit
	$(WITH_CUDA) test -tags gpu,emul -run 'Driver|GPU' ./gpu ./cmd/magvit

# The disassembly of conv_mma.cu and attention_mma.cu: each kernel multiplies on tensor
# cores (HMMA) and loads matrices (LDSM), those of convolutions copy past the registers
# (LDGSTS). A file stands with what its kernels have, and how many there are.
TENSOR_CORES := conv_mma:HMMA,LDSM,LDGS:6 attention_mma:HMMA,LDSM:4
NVDISASM := $(firstword $(wildcard $(CUDA_HOME)/bin/nvdisasm) $(shell command -v nvdisasm) .tools/nvdisasm/nvidia/cu13/bin/nvdisasm)

.tools/nvdisasm/nvidia/cu13/bin/nvdisasm:
	$(PIP) .tools/nvdisasm nvidia-cuda-nvdisasm==13.5.37

sass: sass-sm90a $(NVCC) $(NVDISASM)
	@mkdir -p bin/sass; for a in $(ARCHS); do for f in $(TENSOR_CORES); do file=$${f%%:*}; cubin=bin/sass/$$file.$$a.cubin; \
	  $(NVCC) -std=c++17 -O3 -cubin -arch=sm_$$a -o $$cubin kernels/$$file.cu && $(NVDISASM) $$cubin >$$cubin.sass || exit 1; \
	  awk -v where="$$file on sm_$$a" -v form=$$f '/\.section[ \t]*\.text\./ { k = $$2; sub(/^\.text\./, "", k); sub(/,.*/, "", k); kernels[k] = 1 } \
	    match($$0, /HMMA\.16816\.F32\.BF16|LDSM|LDGSTS/) { count[k, substr($$0, RSTART, 4)]++ } \
	    END { split(form, part, ":"); split(part[2], want, ","); \
	      for (k in kernels) { n++; for (i in want) if (!count[k, want[i]]) { print k " of " where " has no " want[i]; bad = 1 } else all[want[i]] += count[k, want[i]] } \
	      if (n != part[3]) { print n + 0 " kernels of " where ", want " part[3]; bad = 1 } \
	      if (bad) exit 1; for (i = 1; i in want; i++) text = text ", " all[want[i]] " " want[i]; print where ": " n " kernels" text }' $$cubin.sass || exit 1; \
	done; done

# The same of conv_sm90a.cu: tensor copies (UTMALDG) of five axes, products of a
# warpgroup (HGMMA) of 64 by 256, four for each step of a sum, and registers that move
# from the warps that copy to those that multiply (USETMAXREG). The assembler must not
# have serialized products (C75xx), and what adds up parts multiplies nothing.
sass-sm90a: $(NVCC) $(NVDISASM)
	@mkdir -p bin/sass; cubin=bin/sass/conv_sm90a.cubin; \
	$(NVCC) -std=c++17 -O3 -cubin -Xptxas -v -arch=sm_90a -o $$cubin kernels/conv_sm90a.cu 2>$$cubin.log && $(NVDISASM) $$cubin >$$cubin.sass || { cat $$cubin.log; exit 1; }; \
	if grep C75 $$cubin.log; then exit 1; fi; \
	awk '/^\.text\./ { sums = $$1 ~ /_sum_/; if (!sums) name[++n] = $$1 } !sums && match($$0, /HGMMA\.64x256x16\.F32\.BF16|UTMALDG\.5D|USETMAXREG/) { count[n, substr($$0, RSTART, 5)]++ } \
	  END { for (i = 1; i <= n; i++) { what = count[i, "HGMMA"] + 0 " HGMMA, " count[i, "UTMAL"] + 0 " UTMALDG, " count[i, "USETM"] + 0 " USETMAXREG"; \
	      if (count[i, "HGMMA"] < 4 || !count[i, "UTMAL"] || count[i, "USETM"] < 2) { print name[i] " has " what; bad = 1 } } \
	    if (n != 3) { print n + 0 " kernels in conv_sm90a.cu, want 3"; bad = 1 } \
	    if (bad) exit 1; print "sm_90a: 3 kernels with HGMMA and UTMALDG" }' $$cubin.sass

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
	rm -rf bin gpu/fatbin runs/demo runs/demo-clips.npz
