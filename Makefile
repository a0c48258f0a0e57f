GO ?= go
GOFMT = $(shell $(GO) env GOROOT)/bin/gofmt

# What .ci/setup adds on a machine that lacks it.
export PATH := $(CURDIR)/.tools/bin:$(PATH):/usr/local/go/bin

.PHONY: mpi mpi-gpu mpi-test slurm-test torture-ranks setup-go setup build test unit plain lint race emul emul-short emul-asan cuda-tools kernels kernels-newest gpu gpu-test sass generate demo film bare tdd bench torture clean

# Go would name the commit of an enclosing repository, if any, in a linked worktree or an
# unpacked archive (findings/go-build-worktree.sh).
VCS = $(if $(wildcard .git/HEAD),,-buildvcs=false)

build: setup-go
	$(GO) build $(VCS) -o bin/magvit ./cmd/magvit

# Go alone builds the program; the tests also need a C++ compiler, for the race detector
# and the emulator, and ffmpeg, for video files.
setup-go:
	@.ci/setup go

setup:
	@.ci/setup go c++ ffmpeg

# What CI and the README call.
# Lanes of tests run two at a time, the longest first. race and plain together run each test of go test ./... once.
LANES ?= 2
test: setup build
	@$(MAKE) --no-print-directory -j$(LANES) --output-sync=target emul-short plain race mpi-test lint

unit: setup
	$(GO) test -timeout 30m ./...

plain: setup
	$(GO) test -timeout 30m $$($(GO) list ./... | grep -vxE 'magvit/trainer(/data)?')
	$(GO) test -timeout 30m -run '$(NOT_RACED)' ./trainer ./trainer/data

# bin/magvit for mpirun, compiled with MPICC, the compiler of the MPI library that starts it;
# mpi-gpu has the code for GPUs too.
MPICC ?= mpicc
mpi: setup-go
	@command -v $(MPICC) >/dev/null || { echo "$(MPICC) is missing: install libopenmpi-dev or libmpich-dev, load your cluster's MPI module, or name its compiler: make mpi MPICC=..."; exit 1; }
	CC=$(MPICC) CGO_ENABLED=1 $(GO) build $(VCS) -tags mpi -o bin/magvit ./cmd/magvit

mpi-gpu: kernels .tools/stub/libcuda.so $(CUDA_H)
	CC=$(MPICC) $(WITH_CUDA) build $(VCS) -tags gpu,mpi -o bin/magvit ./cmd/magvit

# Ranks under the launcher of each MPI library that is installed.
MPI_TESTS = MPI
MPI_FLAGS = -short -timeout 20m
mpi-test: setup-go
	@found=; for mpi in openmpi mpich; do \
	  command -v mpicc.$$mpi mpirun.$$mpi >/dev/null || continue; found=1; \
	  echo "$$mpi:"; CC=mpicc.$$mpi CGO_ENABLED=1 MAGVIT_MPIRUN=mpirun.$$mpi $(GO) test $(MPI_FLAGS) -tags mpi -run '$(MPI_TESTS)' ./trainer/ranks/mpi ./cmd/magvit || exit 1; \
	done; test -n "$$found" || echo "skipped: make mpi-test: neither Open MPI nor MPICH is installed (.ci/setup mpi)"

# The same ranks under srun, by a Slurm that .ci/slurm starts on this machine: Open MPI by pmix, MPICH by pmi2.
slurm-test: setup-go
	@for mpi in openmpi:pmix mpich:pmi2; do \
	  command -v mpicc.$${mpi%:*} >/dev/null || { echo "skipped: mpicc.$${mpi%:*} is missing (.ci/setup mpi)"; continue; }; \
	  echo "$$mpi:"; CC=mpicc.$${mpi%:*} CGO_ENABLED=1 MAGVIT_MPIRUN="srun --mpi=$${mpi#*:} --kill-on-bad-exit=1" \
	    .ci/slurm $(GO) test -short -tags mpi -run 'MPISameBits|MPIEvaluates|MPIKilledRank|MPIStuckRank' ./cmd/magvit || exit 1; \
	done

# 100 kills of random ranks under each MPI library, see torture, and 50 steps of tiny, an LFQ and a GAN on 1, 2 and 4 ranks.
torture-ranks:
	MAGVIT_TORTURE=$(TORTURE) $(MAKE) mpi-test MPI_TESTS=TortureRanks MPI_FLAGS="-v -timeout 0"

lint: setup
	@changed="$$($(GOFMT) -l cmd gpu kernels model trainer)"; test -z "$$changed" || { echo "gofmt would change:"; echo "$$changed"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck -checks inherit,-ST1005,-S1016 ./... # errors begin with names of fields (T, H, W); literals name theirs

# The race detector. plain runs the tests that it would only slow down: those that train longer, that only read and
# write files, and the same concurrency once more with another quantizer or loss.
NOT_RACED = LossDecreases|ReconstructionImproves|Import|Export|RecomputeKeepsBits|TrainKernels|NetworksLearn|RunInterrupted|Extending|TestInit|FarBackground|EntropyBoost|CodebookResumes|Freeze|ClassifiersOnCodes|PriorOnClips|HalfOfACodec|LeCamAverages|SimpleFeatures|FilmsThatPlayers|DemoLearns|TrainingIsWatched|OrnamentsDoNot|BeginsFromNothing|OverfitsOneBatch|OverfitEightClips|PriorsLearn|PerceptualLoss|AccumulateEqualsOneBatch|PresetsOf|StepOfTheReference|GradientsInBF16|RanksHaveTheSameBits/(bsq|lfq|short|averages)|Torture|LongFilmTakes|TooLargeIsRefused
race: setup
	$(GO) test -race -timeout 30m -skip '$(NOT_RACED)' ./trainer ./trainer/data

# Campaigns of random faults: 155 kills, 281 damaged run directories, 124 full disks (as root), 60 errors of reading and
# writing (with strace), 40 signals, 84 stand-ins for ffmpeg, 200 kills of users of the cache, 94 archives, 80 interrupted commands, 12 power cuts (as root, ext4 on a loop device),
# a training of 200,000 steps that must not grow; TORTURE scales them. Each logs its counts and
# a seed, which MAGVIT_TORTURE_SEED repeats. Ordinary tests run short ones of a fixed seed.
TORTURE ?= 1
torture: setup
	MAGVIT_TORTURE=$(TORTURE) $(GO) test -v -timeout 0 -run Torture ./trainer/data ./cmd/magvit

# The .cu files on the CPU: every kernel against its definition, with the threads in
# three orders, whole training steps, golden values of layers, quantizers and a network.
# Then, for minutes, all golden values, each kernel twice in a row in each order, and mutants of the sources: each must be caught.
emul: emul-short
	$(EMUL_GO) test -tags emul -run TestGoldenEmulated ./model
	$(EMUL_GO) test -timeout 60m -tags emul -run 'MatchDefinitions|Mutations' ./gpu

emul-short: setup
	$(EMUL_GO) vet -tags emul ./kernels/emul ./gpu ./model
	$(EMUL_GO) test -short -timeout 30m -tags emul ./kernels/emul ./gpu
	$(EMUL_GO) test -short -timeout 30m -tags emul -run TestGoldenEmulated ./model

# The same with every access to memory checked.
emul-asan: setup
	$(GO) test -short -asan -tags emul ./kernels/emul ./gpu
	$(GO) test -short -asan -tags emul -run TestGoldenEmulated ./model

# nvcc is that of CUDA_HOME or PATH, else comes as pinned wheels of NVIDIA in an ignored
# folder. gorgonia.org/cu compiles with the cuda.h of CUDA 12: an installed one, or a wheel.
NVCC := $(firstword $(wildcard $(CUDA_HOME)/bin/nvcc) $(shell command -v nvcc) .tools/cuda/nvidia/cu13/bin/nvcc)
CUDA_H := $(firstword $(shell grep -ls 'define CUDA_VERSION 12' $(CUDA_HOME)/include/cuda.h /usr/local/cuda/include/cuda.h) \
  .tools/cuda12/nvidia/cuda_runtime/include/cuda.h)
NVDISASM := $(firstword $(wildcard $(CUDA_HOME)/bin/nvdisasm) $(shell command -v nvdisasm) .tools/nvdisasm/nvidia/cu13/bin/nvdisasm)
PIP := python3 -m pip install --quiet --disable-pip-version-check --no-deps --target

.tools/cuda/nvidia/cu13/bin/nvcc:
	$(PIP) .tools/cuda nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 \
	  nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85

.tools/cuda12/nvidia/cuda_runtime/include/cuda.h:
	$(PIP) .tools/cuda12 nvidia-cuda-runtime-cu12==12.9.79

.tools/nvdisasm/nvidia/cu13/bin/nvdisasm:
	$(PIP) .tools/nvdisasm nvidia-cuda-nvdisasm==13.5.37

# CI asks whether the compiler can be had.
cuda-tools: $(NVCC) $(CUDA_H)

# The .cu files for sm_80 to sm_120, and gpu/fatbin/built.txt. Errors: spilled registers,
# an unexpected stack, serialized wgmma. See kernels/nvcc.
kernels: $(NVCC) | setup-go
	$(GO) run ./kernels/nvcc --nvcc $(NVCC) build

# The same by the newest nvcc that was tried, without output. STEMS="conv_sm90a conv_mma"
# checks these files only: CI does so with conv_sm90a, which comes closest to spilling.
NEWEST = .tools/cuda-newest/nvidia/cu13/bin/nvcc
$(NEWEST):
	$(PIP) .tools/cuda-newest nvidia-cuda-nvcc==13.5.37 nvidia-nvvm==13.5.37 nvidia-cuda-crt==13.5.37 nvidia-cuda-runtime==13.5.37

kernels-newest: $(NEWEST) | setup-go
	$(GO) run ./kernels/nvcc --nvcc $(NEWEST) check $(STEMS)

# bin/magvit with the code for GPUs. It opens libcuda at run time; the linker gets an
# empty script in its place.
WITH_CUDA = CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$(abspath $(dir $(CUDA_H)))" CGO_LDFLAGS=-L$(CURDIR)/.tools/stub $(GO)

# With the flags of gpu-test, where it can run, the emulator is compiled for both at once.
EMUL_GO = $(if $(wildcard $(CUDA_H)),$(WITH_CUDA),$(GO))

.tools/stub/libcuda.so:
	@mkdir -p .tools/stub && echo '/* libcuda.so.1 is opened at run time */' >$@

gpu: kernels .tools/stub/libcuda.so $(CUDA_H)
	$(WITH_CUDA) build $(VCS) -tags gpu -o bin/magvit ./cmd/magvit

# The driver and the command line on a libcuda that runs the kernels on the host, and two ranks
# whose libnccl goes through shared memory. Both libraries are compiled once, in bin/fake.
FAKE = bin/fake/libcuda.so.1
$(FAKE): $(wildcard kernels/*.cu kernels/*.cuh kernels/emul/*.* kernels/emul/*/*.*) | setup-go
	$(EMUL_GO) run -tags emul ./kernels/emul/fake bin/fake

gpu-test: export MAGVIT_FAKE_CUDA = $(CURDIR)/bin/fake
gpu-test: gpu $(FAKE)
	$(WITH_CUDA) vet -tags gpu,emul ./gpu ./cmd/magvit
	$(WITH_CUDA) test -tags gpu,emul -run 'Driver|GPU' ./gpu ./cmd/magvit
	@command -v $(MPICC) mpirun >/dev/null || { echo "skipped: ranks with a GPU each: $(MPICC) or mpirun is missing (.ci/setup mpi)"; exit 0; }; \
	  CC=$(MPICC) CXX=$(subst mpicc,mpicxx,$(MPICC)) MAGVIT_MPIRUN=mpirun $(WITH_CUDA) test -tags gpu,emul,mpi -run RanksOnGPUs ./cmd/magvit

# The machine code of kernels on tensor cores has the instructions that it should have.
sass: $(NVCC) $(NVDISASM) | setup-go
	$(GO) run ./kernels/nvcc --nvcc $(NVCC) --nvdisasm $(NVDISASM) sass

generate: setup-go
	$(GO) generate ./...

# From nothing to a report: 200 clips, three minutes of training, an evaluation of
# the held-out clips. Called again it shows what is there; make clean removes it.
# DEMO holds more flags for the training, such as DEMO="--minutes 1".
demo: build
	bin/magvit synth --clips 200 --out runs/demo-clips.npz
	bin/magvit train --preset demo --data runs/demo-clips.npz --out runs/demo $(DEMO) >/dev/null # eval prints the same table
	bin/magvit eval --checkpoint runs/demo --data runs/demo-clips.npz --split val
	@echo "The report, with curves and clips next to their reconstructions: $$PWD/runs/demo/report.html"

# Ten minutes on real film: the parts of testdata/clips that split.csv names for training,
# judged by the others, next to what H.264 and AV1 do with the same bits.
film: build
	@.ci/setup ffmpeg
	bin/magvit train --data testdata/clips/split.csv --out runs/film $(FILM) >/dev/null # eval prints the same table
	bin/magvit eval --checkpoint runs/film --data testdata/clips/split.csv --split val --codecs
	@echo "The report, with curves and clips next to their reconstructions: $$PWD/runs/film/report.html"

# These commands on a fresh Debian: make bare SUITE=trixie. Root only; debootstrap makes it.
bare:
	.ci/bare $(SUITE)

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
	rm -rf bin gpu/fatbin runs/demo runs/demo-clips.npz runs/film
