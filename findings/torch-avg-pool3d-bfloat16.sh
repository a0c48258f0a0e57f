#!/usr/bin/env bash
# torch 2.15.0 on a CPU, pooling of tensors in bfloat16.
# Expected: avg_pool3d in bfloat16, as avg_pool2d, max_pool3d and adaptive_avg_pool3d have it, the latter with the same windows.
# Seen: avg_pool3d alone is not implemented, in float16 neither, so that a video network that halves time by it cannot be run in
# bfloat16 on a CPU; adaptive_avg_pool3d to half the size gives its values:
#   avg_pool2d: runs
#   max_pool3d: runs
#   adaptive_avg_pool3d: runs
#   avg_pool3d: "avg_pool3d_out_frame" not implemented for 'BFloat16'
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip -q --disable-pip-version-check install torch==2.15.0 numpy==2.4.6
cat >"$work/pool.py" <<'PY'
import torch
from torch.nn import functional as F

x = torch.arange(128.).reshape(1, 2, 4, 4, 4)
same = torch.equal(F.avg_pool3d(x, 2), F.adaptive_avg_pool3d(x, 2))
print("the same windows in float32:", same)
x = x.bfloat16()
for name, values in ("avg_pool2d", x[0]), ("max_pool3d", x), ("adaptive_avg_pool3d", x), ("avg_pool3d", x):
    try:
        getattr(F, name)(values, 2)
        said = "runs"
    except RuntimeError as e:
        said = str(e)
    print(name + ":", said)
PY
"$work/venv/bin/python" "$work/pool.py" | tee "$work/found"
grep -qx 'the same windows in float32: True' "$work/found"
for pool in avg_pool2d max_pool3d adaptive_avg_pool3d; do
  grep -qx "$pool: runs" "$work/found"
done
grep -qx "avg_pool3d: \"avg_pool3d_out_frame\" not implemented for 'BFloat16'" "$work/found"
