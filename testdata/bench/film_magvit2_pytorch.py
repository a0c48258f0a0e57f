#!/usr/bin/env python3
"""Train magvit2-pytorch on film for some CPU seconds and measure held-out clips through its codes.

  film_magvit2_pytorch.py TRAIN.npz VAL.npz --cpu 300 [--dim 32] [--lr 1e-3]

The package as its users configure it, on a network that a CPU can train: the layers of its README with fewer channels
and no attention, kernels and losses by default, FSQ of 4 codes of 1,000 for 8x8 pixels of 4 frames, clips of 17 frames of
64x64 of which the first has codes of its own. Without perceptual and adversarial losses, which cost PSNR and time.
AdamW with a warm-up of 20 steps and a cosine that ends with the CPU seconds, all of the process's since its start but
imports; mirrored clips. Prints one line of JSON. PSNR is pooled over all values, clamped to [0,1].
"""
import argparse, importlib.metadata, json, math, time
import numpy as np
import torch
from magvit2_pytorch import VideoTokenizer

a = argparse.ArgumentParser()
a.add_argument("train"), a.add_argument("val")
a.add_argument("--cpu", type=float, default=300), a.add_argument("--dim", type=int, default=32)
a.add_argument("--lr", type=float, default=1e-3), a.add_argument("--batch", type=int, default=2), a.add_argument("--threads", type=int, default=1)
a = a.parse_args()
torch.set_num_threads(a.threads), torch.manual_seed(42)
start = time.process_time()


def clips(path):
    return torch.from_numpy(np.load(path)["videos"][:, :17]).transpose(1, 2)  # uint8 [N,3,17,H,W]


train, val = clips(a.train), clips(a.val)
network = VideoTokenizer(
    image_size=64, init_dim=a.dim, max_dim=8 * a.dim, use_fsq=True, fsq_levels=[8, 5, 5, 5], num_codebooks=4, use_gan=False, perceptual_loss_weight=0.0,
    layers=("residual", "compress_space", ("consecutive_residual", 2), "compress_space", ("consecutive_residual", 2), "compress_space",
            ("consecutive_residual", 2), "compress_time", ("consecutive_residual", 2), "compress_time", ("consecutive_residual", 2)))
parameters = [p for p in network.parameters() if p.requires_grad]
optimizer, steps, used = torch.optim.AdamW(parameters, a.lr, betas=(0.9, 0.99)), 0, 0.0
while used < a.cpu:
    video = train[torch.randint(len(train), (a.batch,))].float() / 255
    video = video.flip(-1) if torch.rand(()) < 0.5 else video
    optimizer.param_groups[0]["lr"] = a.lr * min(1, (steps + 1) / 20) * (0.02 + 0.98 * (1 + math.cos(math.pi * used / a.cpu)) / 2)
    loss, _ = network(video, return_recon_loss_only=True)
    optimizer.zero_grad(), loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0), optimizer.step()
    steps, used = steps + 1, time.process_time() - start
network.eval()
error = values = 0
codes = set()
with torch.no_grad():
    for clip in val:
        video = clip[None].float() / 255
        tokens = network.tokenize(video)
        back = network.decode_from_code_indices(tokens).clamp(0, 1)
        error, values, bits = error + float(((back - video) ** 2).sum()), values + video.numel(), tokens.numel() * math.log2(1000)
        codes.update(tokens.flatten().tolist())
versions = {p: importlib.metadata.version(p) for p in ("magvit2-pytorch", "torch")}
print(json.dumps({"versions": versions, "parameters": sum(p.numel() for p in parameters), "steps": steps, "cpu_s": round(used, 1),
                  "psnr": round(-10 * math.log10(error / values), 2), "codes": len(codes), "bits_per_pixel": round(bits / (17 * 64 * 64), 4)}))
