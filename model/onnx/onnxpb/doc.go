// Package onnxpb is ONNX's messages in Go: onnx.proto of the Python package onnx 1.23.2 (Apache-2.0, see LICENSE and
// NOTICE), compiled with the plain tools of its makers.
//
//	python3 -m pip install onnx==1.23.2 grpcio-tools==1.85.1
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	python3 -m grpc_tools.protoc -I. --go_out=. --go_opt=Monnx.proto=magvit/model/onnx/onnxpb --go_opt=paths=source_relative onnx.proto
//
// Why the result is committed: a build needs Go alone.
package onnxpb
