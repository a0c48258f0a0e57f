#!/usr/bin/env bash
# ffmpeg 7.0.2 (imageio-ffmpeg 0.6.0), a WebM of VP9 with alpha: the decoder that ffmpeg takes by itself.
# Expected: a film that is transparent everywhere is transparent when it is read as RGBA, as it was written.
# Seen: the built-in decoder vp9 leaves the alpha plane out without a word, and all pixels are opaque; libvpx-vp9 reads it:
#   by default: alpha 255 to 255
#   -c:v libvpx-vp9: alpha 0 to 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: imageio-ffmpeg==0.6.0
python3 -m zipfile -e imageio_ffmpeg-0.6.0-*.whl wheel
ffmpeg=$(ls wheel/imageio_ffmpeg/binaries/ffmpeg*)
chmod +x "$ffmpeg"
"$ffmpeg" -version | grep -q '^ffmpeg version 7\.0\.2'
run() { "$ffmpeg" -nostdin -hide_banner -loglevel error "$@"; }

run -f lavfi -i testsrc2=s=64x48:r=25:d=0.2 -vf format=rgba,colorchannelmixer=aa=0 -c:v libvpx-vp9 -pix_fmt yuva420p clear.webm
alpha() {
  run "$@" -i clear.webm -f rawvideo -pix_fmt rgba frames
  python3 -c 'a = open("frames", "rb").read()[3::4]; assert len(a) == 5 * 64 * 48; print("alpha", min(a), "to", max(a))'
  rm frames
}
default=$(alpha)
named=$(alpha -c:v libvpx-vp9)
echo "by default: $default"
echo "-c:v libvpx-vp9: $named"
[ "$default" = "alpha 255 to 255" ]
[ "$named" = "alpha 0 to 0" ]
