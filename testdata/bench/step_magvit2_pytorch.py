#!/usr/bin/env python3
"""Times magvit2-pytorch: training steps, or encoding and decoding.

A step is forward, backward and AdamW of VideoTokenizer, without the perceptual loss and the
discriminator. Presets small and seed of magvit are these networks; readme-128 is the large
example of the package's README.

  step_magvit2_pytorch.py --config small --batch 8 --layout channels_last --tuned --json
  step_magvit2_pytorch.py --config small --mode encode --batch 2 --layout channels_last --tuned --json
  step_magvit2_pytorch.py --device cuda --config readme-128 --dtype bf16 --layout channels_last --tuned --compile --json

Needs torch, magvit2-pytorch and numpy. FLOPs are those of torch.utils.flop_counter: matrix
products, convolutions and attention, 2 to a multiply-add.
"""
import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time

CONFIGS = {
    "seed": dict(
        kwargs=dict(image_size=64, init_dim=64, layers=("residual", "residual")),
        frames=16, batch=8),
    "small": dict(
        kwargs=dict(image_size=64, init_dim=32, layers=(
            "residual",
            ("compress_space", 64), ("consecutive_residual", 2),
            ("compress_space", 128), ("consecutive_residual", 2),
            ("compress_time", 128), "residual")),
        frames=17, batch=8),
    # The package README's large example, with the image size reduced to 64.
    "readme-64": dict(
        kwargs=dict(image_size=64, init_dim=64, max_dim=512, layers=(
            "residual",
            "compress_space", ("consecutive_residual", 2),
            "compress_space", ("consecutive_residual", 2), "linear_attend_space",
            "compress_space", ("consecutive_residual", 2), "attend_space",
            "compress_time", ("consecutive_residual", 2),
            "compress_time", ("consecutive_residual", 2), "attend_time")),
        frames=17, batch=1),
}
CONFIGS["readme-128"] = dict(kwargs=dict(CONFIGS["readme-64"]["kwargs"], image_size=128), frames=17, batch=4)

def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--config", choices=sorted(CONFIGS), default="seed")
    p.add_argument("--mode", choices=["train", "forward", "encode", "decode"], default="train")
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    p.add_argument("--dtype", choices=["f32", "bf16"], default="f32", help="bf16: autocast with f32 parameters")
    p.add_argument("--quantizer", choices=["fsq", "lfq"], default="fsq", help="FSQ [8,5,5,5] or LFQ 2^10")
    p.add_argument("--batch", type=int, default=0, help="0: the configuration's own")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=3, help="timed repetitions")
    p.add_argument("--warmup", type=int, default=1)
    p.add_argument("--max-seconds", type=float, default=0, help="stop early, after at least one timed repetition")
    p.add_argument("--layout", choices=["default", "channels_last"], default="default")
    p.add_argument("--tuned", action="store_true",
                   help="spatial padding inside the convolution (no copy for it), fused AdamW, no idle discriminator")
    p.add_argument("--compile", action="store_true", help="torch.compile the model's forward")
    p.add_argument("--list", action="store_true", help="list the configurations")
    p.add_argument("--json", action="store_true")
    return p.parse_args()


def cpu_name():
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main():
    a = arguments()
    if a.list:
        for k, v in CONFIGS.items():
            print(k, v)
        return 0
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    os.environ["MKL_NUM_THREADS"] = str(a.threads)
    import torch
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    if a.device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    base = dict(device=torch.cuda.get_device_name() if a.device == "cuda" else "cpu", torch=torch.__version__, cpu=cpu_name(), cores=os.cpu_count(), threads=a.threads)
    r = dict(model_row(a, torch), **base)
    r["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if a.device == "cuda":
        r["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    r["load_1min"] = round(os.getloadavg()[0], 2)
    if a.json:
        print(json.dumps(r))
    else:
        print("  ".join(f"{k}={v}" for k, v in r.items()))
    return 0


def timed(fn, a):
    """Returns the seconds of each repetition of fn after the warm-up."""
    if a.device == "cuda":
        import torch
        work = fn

        def fn():
            work()
            torch.cuda.synchronize()
    for _ in range(a.warmup):
        fn()
    out, t_all = [], time.perf_counter()
    for _ in range(a.steps):
        t = time.perf_counter()
        fn()
        out.append(time.perf_counter() - t)
        if a.max_seconds and time.perf_counter() - t_all > a.max_seconds:
            break
    return out


def summary(ts, flops, clips):
    med, low = statistics.median(ts), min(ts)
    return dict(runs=len(ts), median_s=round(med, 5), min_s=round(low, 5),
                gflop=round(flops / 1e9, 3),
                gflops_median=round(flops / med / 1e9, 2), gflops_best=round(flops / low / 1e9, 2),
                videos_per_s=round(clips / med, 4), videos_per_s_best=round(clips / low, 4))


def fold_spatial_padding(model, torch):
    """Lets Conv3d pad height and width itself; only time is padded by a copy."""
    from magvit2_pytorch.magvit2_pytorch import CausalConv3d
    F = torch.nn.functional
    for m in model.modules():
        if isinstance(m, CausalConv3d) and m.pad_mode == "constant":
            w, _, h, _, t, _ = m.time_causal_padding
            m.conv.padding = (0, h, w)

            def forward(x, m=m, t=t):
                return m.conv(F.pad(x, (0, 0, 0, 0, t, 0)) if t else x)
            m.forward = forward


def build(a, torch):
    from magvit2_pytorch import VideoTokenizer
    c = CONFIGS[a.config]
    q = dict(use_fsq=True, fsq_levels=[8, 5, 5, 5]) if a.quantizer == "fsq" else dict(codebook_size=1024)
    model = VideoTokenizer(**c["kwargs"], **q, use_gan=False, perceptual_loss_weight=0.)
    if a.tuned:
        fold_spatial_padding(model, torch)
        model.discr = None
    if a.layout == "channels_last":
        for m in model.modules():
            if isinstance(m, torch.nn.Conv3d):
                m.to(memory_format=torch.channels_last_3d)
            elif isinstance(m, torch.nn.Conv2d):
                m.to(memory_format=torch.channels_last)
    return model, c["frames"], a.batch or c["batch"]


def model_row(a, torch):
    from torch.utils.flop_counter import FlopCounterMode
    model, frames, batch = build(a, torch)
    size = model.image_size
    model = model.to(a.device)
    video = torch.rand(batch, 3, frames, size, size, device=a.device)
    if a.layout == "channels_last":
        video = video.contiguous(memory_format=torch.channels_last_3d)
    params = sum(p.numel() for p in model.parameters())
    bf16 = a.dtype == "bf16"
    fwd = model

    def cast():
        return torch.autocast(a.device, torch.bfloat16, enabled=bf16)

    if a.compile:
        fwd = torch.compile(model)

    if a.mode == "train":
        opt = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(.9, .99), weight_decay=1e-2,
                                **(dict(fused=True) if a.tuned else {}))

        def step():
            with cast():
                loss, _ = fwd(video, return_loss=True)
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss
    else:
        model.eval()
        with torch.no_grad(), cast():
            codes = model(video, return_codes=True)

        @torch.no_grad()
        def step():
            with cast():
                if a.mode == "forward":
                    return fwd(video)
                if a.mode == "encode":
                    return fwd(video, return_codes=True)
                return model.decode_from_code_indices(codes)

    t = time.perf_counter()
    with FlopCounterMode(display=False) as fc:   # also the first warm-up
        if a.compile:                            # count without the compiled graph
            saved, fwd = fwd, model
            step()
            fwd = saved
        else:
            step()
    first = time.perf_counter() - t
    ts = timed(step, a)
    return dict(what=a.mode, config=a.config, dtype=a.dtype, quantizer=a.quantizer, layout=a.layout,
                tuned=a.tuned, compiled=a.compile, batch=batch, frames=frames, params=params,
                first_s=round(first, 3), **summary(ts, fc.get_total_flops(), batch))


if __name__ == "__main__":
    sys.exit(main())
