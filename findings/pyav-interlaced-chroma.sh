#!/usr/bin/env bash
# PyAV 18.1.0 (its own FFmpeg libraries, libswscale 9.5) and torchcodec 0.17.0 (torch 2.15.0, FFmpeg's libraries of the system, 5.1),
# an interlaced film in 4:2:0: MPEG-2, top field first, the top field red and the bottom field blue.
# Expected: the same RGB values of both readers, as both convert with libswscale, and as they return the same for films that are not
# interlaced. A line of the top field is red, one of the bottom field blue.
# Seen: to_ndarray(format="rgb24") of PyAV keeps to the fields. torchcodec, and ffmpeg 5.1, take the lines of chroma as if the frame
# were progressive: half of the lines have the colour of the other field. A network trained with one reader sees other colours with
# the other one; the same film marked as progressive has equal values, those of torchcodec:
#   interlaced PyAV: blue red blue red blue red blue red
#   interlaced torchcodec: blue blue red red blue blue red red
#   interlaced ffmpeg: blue blue red red blue blue red red
#   progressive PyAV: blue blue red red blue blue red red
#   progressive torchcodec: blue blue red red blue blue red red
#   progressive ffmpeg: blue blue red red blue blue red red
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 torchcodec==0.17.0 av==18.1.0 numpy==2.4.6

# Lines of chroma alternate, as they belong to the two fields in turn.
make() { # NAME FIELDS OPTION...
  ffmpeg -nostdin -hide_banner -loglevel error -f lavfi -i color=gray:s=128x96:r=25:d=0.4 \
    -vf "format=yuv420p,geq=lum='lum(X,Y)':cb='if(mod(Y,2),90,240)':cr='if(mod(Y,2),240,110)',setfield=$2" \
    -c:v mpeg2video -qscale:v 1 "${@:3}" "$1.mkv"
}
make interlaced tff -flags +ilme+ildct
make progressive prog
for name in interlaced progressive; do
  ffmpeg -nostdin -loglevel error -i $name.mkv -f rawvideo -pix_fmt rgb24 $name.rgb
done
env/bin/python - <<'PY' | tee found
import av, numpy as np
from torchcodec.decoders import VideoDecoder

def words(frame):
    return " ".join("red" if line[64, 0] > line[64, 2] else "blue" for line in frame[20:28].astype(int))

for name in "interlaced", "progressive":
    with av.open(name + ".mkv") as film:
        print(name, "PyAV:", words([f.to_ndarray(format="rgb24") for f in film.decode(video=0)][3]))
    print(name, "torchcodec:", words(VideoDecoder(name + ".mkv", dimension_order="NHWC").get_frame_at(3).data.numpy()))
    print(name, "ffmpeg:", words(np.fromfile(name + ".rgb", np.uint8).reshape(-1, 96, 128, 3)[3]))
PY
diff found - <<'SEEN'
interlaced PyAV: blue red blue red blue red blue red
interlaced torchcodec: blue blue red red blue blue red red
interlaced ffmpeg: blue blue red red blue blue red red
progressive PyAV: blue blue red red blue blue red red
progressive torchcodec: blue blue red red blue blue red red
progressive ffmpeg: blue blue red red blue blue red red
SEEN
