"""CPU seconds and peak memory of PyAV, torchcodec and decord for random windows of 17 frames at 128x128 (the middle).

    python readers.py READER WINDOWS FILM...    READER: pyav, exact, approximate, batch, decord

One thread. The films have 30 frames a second and at least 1720 frames. `magvit bench data` measures this project's reader:

    magvit bench data --data FILM... --preset film-64 --set data.size=128 --set data.frames=17 --set data.crop.batch=0 \
        --set data.fit=center --set data.workers=1 --clips WINDOWS
"""
import os, random, resource, sys, time

os.environ["OMP_NUM_THREADS"] = "1"
reader, windows, films = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
random.seed(1)
todo = [(random.choice(films), random.randrange(1700)) for _ in range(windows)]

if reader == "pyav":
    import av
    import numpy as np
    from PIL import Image

    def read(film, start):
        with av.open(film) as c:
            v = c.streams.video[0]
            v.codec_context.thread_count = 1
            if start:
                c.seek(int((start - .5) / 30 / v.time_base), stream=v)
            out = []
            for frame in c.decode(v):
                if frame.time * 30 < start - .25:
                    continue
                out.append(np.asarray(Image.fromarray(frame.to_ndarray(format="rgb24")).resize((228, 128), Image.BILINEAR))[:, 50:178])
                if len(out) == 17:
                    return np.stack(out)
else:
    import torch
    torch.set_num_threads(1)

    def scaled(frames):  # [T,3,H,W]
        return torch.nn.functional.interpolate(frames.float(), (128, 228), mode="bilinear", antialias=True)[..., 50:178]

    if reader == "decord":
        import decord
        decord.bridge.set_bridge("torch")

        def read(film, start):
            d = decord.VideoReader(film, num_threads=1)
            return scaled(d.get_batch(list(range(start, start + 17))).permute(0, 3, 1, 2))
    else:
        from torchcodec.decoders import VideoDecoder

        def read(film, start):
            d = VideoDecoder(film, seek_mode="exact" if reader == "batch" else reader, num_ffmpeg_threads=1)
            return scaled(d.get_frames_in_range(start, start + 17).data)

began = time.process_time()
if reader == "batch":  # all windows of a film in one call
    for film in films:
        frames = [k for f, start in todo if f == film for k in range(start, start + 17)]
        scaled(VideoDecoder(film, num_ffmpeg_threads=1).get_frames_at(frames).data)
else:
    for film, start in todo:
        assert len(read(film, start)) == 17
spent = (time.process_time() - began) / windows
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"{reader}: {spent:.3f} CPU s a window, peak {peak} MiB")
