#!/usr/bin/env bash
# mpiexec of MPICH 4.3.2 (Hydra), and 4.0.2, whose terminal closes while ranks run.
# Expected, as its SIGINT and SIGTERM reach the ranks: SIGHUP does too, or is one of these, so that ranks can save.
# Seen: mpiexec ends at once, and the ranks are ended without a signal that they could catch. Open MPI's mpirun 4.1.4
# sends them SIGTERM. nohup or setsid before mpiexec is the way out.
#   INT: mpiexec exits 130; ranks: got 2, saved
#   TERM: mpiexec exits 130; ranks: got 15, saved
#   HUP: mpiexec dies of signal 1; ranks: ended without a word
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip -q install mpich==4.3.2 2>&1

cat >"$work/rank.py" <<'PY'
import os, signal, sys, time
log = open(os.path.join(sys.argv[1], str(os.getpid())), "w", buffering=1)
def save(number, frame):
    print("got %d" % number, file=log)
    time.sleep(.3)
    print("saved", file=log)
    os._exit(130)
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, save)
print("up", file=log)
time.sleep(20)
print("finished", file=log)
PY

cat >"$work/launch.py" <<'PY'
import os, signal, subprocess, sys, tempfile, time
mpiexec, rank = sys.argv[1:]
for name in ("INT", "TERM", "HUP"):
    logs = tempfile.mkdtemp()
    p = subprocess.Popen([mpiexec, "-n", "2", sys.executable, rank, logs], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    read = lambda: [open(os.path.join(logs, f)).read().split("\n")[:-1] for f in sorted(os.listdir(logs))]
    while read() != [["up"], ["up"]]:
        time.sleep(.05)
    p.send_signal(getattr(signal, "SIG" + name))
    status = p.wait()
    time.sleep(2)
    a, b = read()
    said = "finished" if "finished" in a + b else "unlike" if a != b else ", ".join(a[1:]) or "ended without a word"
    print("%s: mpiexec %s; ranks: %s" % (name, "exits %d" % status if status >= 0 else "dies of signal %d" % -status, said))
PY
seen=$(timeout 120 "$work/venv/bin/python" "$work/launch.py" "$work/venv/bin/mpiexec.hydra" "$work/rank.py")
printf '%s\n' "$seen"
diff <(grep '^#   [A-Z]' "$0" | cut -c5-) <(printf '%s\n' "$seen")
