#!/bin/sh
# Throughput of one process with two threads and of two ranks with one thread each, in turn, of presets demo and small:
# clips and crops a second, of each the median of its records but the first of a run, and their ratio. Then sums over two ranks: in the order of ranks, in bfloat16,
# and by the MPI library. Wants two free cores and a program of make mpi.
# usage: testdata/bench/ranks.sh [ROUNDS] ; MPIRUN names the launcher
set -eu
rounds=${1:-3} mpirun=${MPIRUN:-mpirun} magvit=$PWD/bin/magvit
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none
median() {
  for run in "$dir/$1"-*; do grep -o '"clips_per_s":[0-9.]*' "$run/metrics.jsonl" | cut -d: -f2 | tail -n +2; done |
    sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
"$magvit" synth --clips 40 --out "$dir/clips.npz" >/dev/null 2>&1
for preset in demo small; do
  [ $preset = demo ] && steps=100 every=20 || steps=20 every=5 # every twentieth step of demo has whole clips, so each record has one
  train="train --preset $preset --data $dir/clips.npz --steps $steps --set train.log_every=$every --set train.eval_every=0 --set train.eval_clips=1 --set train.samples=0 --set train.save_every=0"
  for i in $(seq "$rounds"); do
    "$magvit" $train --out "$dir/$preset-one-$i" >/dev/null 2>&1
    $mpirun -n 2 "$magvit" $train --out "$dir/$preset-two-$i" >/dev/null 2>&1
  done
  one=$(median $preset-one) two=$(median $preset-two)
  echo "$preset: one process $one clips/s, two ranks $two, ratio $(echo "$one $two" | awk '{printf "%.3f", $2 / $1}')"
done
$mpirun -n 2 "$magvit" bench reduce --max 20
