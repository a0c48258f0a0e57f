#!/usr/bin/env bash
# torchcodec 0.17.0 (torch 2.15.0, FFmpeg's libraries of the system), an MP4 cut out of a longer one without encoding it again, at
# a moment between two key frames: the file keeps the frames from the key frame on, and an edit list hides those before the cut.
# Expected: seek_mode="approximate" is less exact about when a frame is shown, but has as many frames as the film, so that an
# index drawn from range(len(decoder)) can be read.
# Seen: its len is the number of stored frames, hidden ones included, and the last of these indices raise an error; the exact mode
# and ffprobe count those that are shown. Before the hidden number both modes return the same frames:
#   ffprobe: 77 frames shown, 107 stored
#   exact: 77 frames, the last can be read
#   approximate: 107 frames, 77 of them can be read, the same
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 torchcodec==0.17.0 numpy==2.4.6

run() { ffmpeg -nostdin -hide_banner -loglevel error "$@"; }
run -f lavfi -i testsrc2=s=160x120:r=25:d=8 -c:v libx264 -g 50 -bf 2 -pix_fmt yuv420p whole.mp4
run -ss 3.2 -i whole.mp4 -t 3 -c copy part.mp4
count() { ffprobe -v error -count_frames -select_streams v -show_entries "stream=$1" -of csv=p=0 part.mp4; }
echo "ffprobe: $(count nb_read_frames) frames shown, $(count nb_frames) stored" | tee found
env/bin/python - <<'PY' | tee -a found
from torchcodec.decoders import VideoDecoder

def frames(decoder):
    for i in range(len(decoder)):
        try:
            yield decoder.get_frame_at(i).data
        except RuntimeError:
            yield None

exact, approximate = (VideoDecoder("part.mp4", seek_mode=mode) for mode in ("exact", "approximate"))
want, got = list(frames(exact)), list(frames(approximate))
print("exact:", len(exact), "frames, the last", "can" if want[-1] is not None else "cannot", "be read")
read = [f for f in got if f is not None]
same = len(read) == len(want) and all((a == b).all() for a, b in zip(read, want))
print("approximate:", len(approximate), "frames,", len(read), "of them can be read,", "the same" if same else "other ones")
PY
diff found - <<'SEEN'
ffprobe: 77 frames shown, 107 stored
exact: 77 frames, the last can be read
approximate: 107 frames, 77 of them can be read, the same
SEEN
