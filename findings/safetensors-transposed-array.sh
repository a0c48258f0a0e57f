#!/usr/bin/env bash
# safetensors 0.8.0, save of safetensors.numpy with an array that is a transposed view.
# Expected: the values of the array, as 0.7.0, 0.6.2 and 0.5.3 save them, or an error, as safetensors.torch raises for a tensor
# that is not contiguous (the docstring asks for contiguous tensors, and says nothing of what happens otherwise).
# Seen: no error, and a file with the shape of the view whose values are in the order of the memory below it: weights of a transposed
# layer come back mixed up. numpy.ascontiguousarray helps:
#   0.7.0: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
#   0.8.0: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
#   0.8.0, ascontiguousarray: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/transposed.py" <<'PY'
import numpy, safetensors
from safetensors.numpy import load, save

view = numpy.arange(6, dtype=numpy.float32).reshape(2, 3).T
print(safetensors.__version__ + ":", load(save({"weight": view}))["weight"].tolist())
copy = numpy.ascontiguousarray(view)
print(safetensors.__version__ + ", ascontiguousarray:", load(save({"weight": copy}))["weight"].tolist())
PY
for version in 0.7.0 0.8.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/python" -m pip -q --disable-pip-version-check install safetensors==$version numpy==2.4.6
  "$work/$version/bin/python" "$work/transposed.py" | tee -a "$work/found"
done
right='[[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]'
grep -qxF "0.7.0: $right" "$work/found"
grep -qxF '0.8.0: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]' "$work/found"
grep -qxF "0.8.0, ascontiguousarray: $right" "$work/found"
