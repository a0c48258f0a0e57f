GO ?= go

.PHONY: build test check lint race generate demo tdd bench clean

build:
	$(GO) build -o bin/magvit ./cmd/magvit

# Everything that CI and the README call: needs Go, and ffmpeg for the video tests.
test: build lint
	$(GO) test ./...
	$(GO) test -race -short ./trainer/data ./trainer/... ./kernels/chance

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...

# make tdd TEST=TestLossDecreases STAGE=red|green|refactor records what go test prints.
tdd:
	@test -n "$(TEST)" -a -n "$(STAGE)" || { echo "usage: make tdd TEST=TestName STAGE=red|green|refactor"; exit 2; }
	@mkdir -p testdata/tdd
	@{ echo "# $(TEST), $(STAGE)"; echo "# $$(date -u +%Y-%m-%dT%H:%M:%SZ), commit $$(git rev-parse --short HEAD 2>/dev/null || echo none)$$(test -z "$$(git status --porcelain)" || echo ' with changes')"; \
	  echo '$$ go test -count=1 -v -run ^$(TEST)$$ ./trainer'; \
	  $(GO) test -count=1 -v -run '^$(TEST)$$' ./trainer 2>&1; echo "exit $$?"; } | tee testdata/tdd/$(TEST).$(STAGE).txt
