#!/usr/bin/env bash
# onnxruntime 1.32.0, operator Scan over a sequence whose shape is known at run time only.
# Expected from ONNX's IR.md: the outputs of a subgraph have a type, whose shape may be left out. Seen: onnx.checker with
# full_check takes such a model, the session loads it, and its run fails; with a shape for the body's outputs, whose sizes
# are unknown too, it runs (1.16.3 does the same, also where 1.32.0 infers the shape):
#   without a shape: Subgraph must have the shape set for all outputs but next did not.
#   with a shape of unknown sizes: [1. 3. 6.]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip -q install onnxruntime==1.32.0 numpy==2.4.6 onnx==1.23.2 2>&1

cat >"$work/scan.py" <<'PY'
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper

def model(shape):  # running sums along the first axis
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    body = helper.make_graph([helper.make_node("Add", ["state", "x"], ["next"]), helper.make_node("Identity", ["next"], ["seen"])],
                             "step", [info("state"), info("x")], [info("next"), info("seen")])
    free = lambda name, rank: helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
    scan = helper.make_node("Scan", ["start", "xs"], ["last", "sums"], body=body, num_scan_inputs=1)
    # A reshape by an input hides the shape of the sequence.
    shape_in = helper.make_tensor_value_info("shape", TensorProto.INT64, [None])
    nodes = [helper.make_node("Reshape", ["flat", "shape"], ["xs"]), scan]
    graph = helper.make_graph(nodes, "sums", [free("start", 1), free("flat", 1), shape_in], [free("sums", 2)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

for name, shape in ("without a shape", None), ("with a shape of unknown sizes", [None]):
    m = model(shape)
    onnx.checker.check_model(m, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"start": numpy.zeros(1, numpy.float32), "flat": numpy.float32([1, 2, 3]), "shape": numpy.int64([3, 1])}
    try:
        said = str(session.run(None, feed)[0].ravel())
    except Exception as e:
        said = str(e).split("Message: ")[-1]
    print(name + ":", said)
PY
said=$("$work/venv/bin/python" "$work/scan.py")
echo "$said"
grep -q '^without a shape: Subgraph must have the shape set for all outputs but next did not' <<<"$said"
grep -q '^with a shape of unknown sizes: \[1. 3. 6.\]' <<<"$said"
