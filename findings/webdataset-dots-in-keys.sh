#!/usr/bin/env bash
# webdataset 1.0.2, TarWriter of two samples whose keys have a dot, as names of files have: "throw.mp4@0-1" and "throw.mp4@1-2".
# Expected: two samples with these keys and the fields npy and cls when the archive is read, or an error when it is written, as what
# comes behind the first dot of a member's name is the field.
# Seen: neither TarWriter nor WebDataset says anything; both samples come back as one of the key "throw", with four fields, so that
# sample["cls"] is missing and a count of samples is wrong:
#   throw: mp4@0-1.cls mp4@0-1.npy mp4@1-2.cls mp4@1-2.npy
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip -q --disable-pip-version-check install webdataset==1.0.2 numpy==2.4.6
cat >"$work/dots.py" <<'PY'
import sys
import numpy, webdataset

archive = sys.argv[1]
with webdataset.TarWriter(archive) as out:
    for label in 0, 1:
        out.write({"__key__": f"throw.mp4@{label}-{label + 1}", "npy": numpy.zeros(2, numpy.int32), "cls": label})
for sample in webdataset.WebDataset(archive, shardshuffle=False).decode():
    print(sample["__key__"] + ":", *sorted(k for k in sample if not k.startswith("__")))
PY
"$work/venv/bin/python" "$work/dots.py" "$work/samples.tar" 2>"$work/warnings" | tee "$work/found"
cat "$work/warnings"
test ! -s "$work/warnings"
test "$(cat "$work/found")" = 'throw: mp4@0-1.cls mp4@0-1.npy mp4@1-2.cls mp4@1-2.npy'
