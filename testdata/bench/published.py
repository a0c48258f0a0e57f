#!/usr/bin/env python3
"""Encode or decode clips with the networks of Open-MAGVIT2, VidTok 1.0 and Cosmos DV in PyTorch.

  published.py encode|decode open-magvit2-video|vidtok-fsq-488|cosmos-dv8x8x8 [--runs 2] [--layout default|channels-last] [--precision f32|bf16]
  published.py check FILE.safetensors ...    golden values (testdata/golden_published) of small networks
  published.py script NETWORK FILE.jit       a Cosmos network with random weights as TorchScript, as NVIDIA publishes them, and a clip and its codes (FILE.jit.clips.npz, FILE.jit.codes.npy)

Plain torch layers, named as in the projects' state dicts. What costs nothing but speed if it is left out is done: spatial
padding inside of convolutions, inference mode, in-place activations, one half of the network alone. Prints one line of JSON:
the CPU seconds, of one thread, of the shortest run, and the process's largest memory.
"""
import argparse, json, resource, struct, time
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def frames_of(x):  # [N,C,T,H,W] to [N·T,C,H,W]
    n, c, t, h, w = x.shape
    return x.permute(0, 2, 1, 3, 4).reshape(n * t, c, h, w)


def clips_of(y, n):
    return y.reshape(n, -1, *y.shape[1:]).permute(0, 2, 1, 3, 4)


class Group(nn.Module):
    """The modules of a dotted name's part."""

    def __init__(self, **modules):
        super().__init__()
        for name, m in modules.items():
            setattr(self, name, m)


class Residual(nn.Module):
    """A residual block of two convolutions, with a shortcut where the width changes."""

    def forward(self, x):
        y = self.conv1(F.silu(self.norm1(x), inplace=True))
        y = self.conv2(F.silu(self.norm2(y), inplace=True))
        return y.add_(self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


# Open-MAGVIT2


class OMConv(nn.Module):
    def __init__(self, i, o, k, stride=1, bias=True):
        super().__init__()
        self.front, self.conv_1 = k - 1, nn.Conv3d(i, o, k, stride, (0, k // 2, k // 2), bias=bias)

    def forward(self, x):
        return self.conv_1(F.pad(x, (0, 0, 0, 0, self.front, 0)) if self.front else x)


class OMBlock(Residual):
    def __init__(self, i, o):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(32, i, 1e-6), nn.GroupNorm(32, o, 1e-6)
        self.conv1, self.conv2 = OMConv(i, o, 3, bias=False), OMConv(o, o, 3, bias=False)
        if i != o:
            self.nin_shortcut = OMConv(i, o, 1, bias=False)


class OMUp(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.stride, self.conv1 = stride, OMConv(c, 4 * stride * c, 3)

    def forward(self, x):
        n, c, t, h, w = x.shape
        y = self.conv1(x).view(n, self.stride, 2, 2, c, t, h, w).permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(n, c, t * self.stride, 2 * h, 2 * w)
        return y if self.stride == 1 else y[:, :, :1] if t == 1 else torch.cat([y[:, :, :1], y[:, :, 2:]], 2)


def om_blocks(i, o, n):
    return nn.ModuleList(OMBlock(i if j == 0 else o, o) for j in range(n))


class OMEncoder(nn.Module):
    def __init__(self, ch, ch_mult, blocks, z, **_):
        super().__init__()
        m = [ch * k for k in ch_mult]
        self.conv_in, self.down = OMConv(3, ch, 3, bias=False), nn.ModuleList()
        for i, w in enumerate(m):
            self.down.append(Group(block=om_blocks(m[i - 1] if i else ch, w, blocks)))
            if i < len(m) - 1:
                self.down[-1].downsample = OMConv(w, w, 3, (1 if ch_mult[i] == 1 else 2, 2, 2))
        self.mid_block, self.norm_out, self.conv_out = om_blocks(m[-1], m[-1], blocks), nn.GroupNorm(32, m[-1], 1e-6), OMConv(m[-1], z, 1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            for block in level.block:
                x = block(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        for block in self.mid_block:
            x = block(x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))

    def codes(self, h):
        return ((h > 0) << torch.arange(h.shape[1]).view(1, -1, 1, 1, 1)).sum(1)


class OMDecoder(nn.Module):
    def __init__(self, ch, ch_mult, blocks, z, **_):
        super().__init__()
        m = [ch * k for k in ch_mult]
        self.z, self.conv_in, self.mid_block = z, OMConv(z, m[-1], 3), om_blocks(m[-1], m[-1], blocks)
        self.up, self.adaptive = nn.ModuleList(), nn.ModuleList()
        for i, w in enumerate(m):
            above = m[min(i + 1, len(m) - 1)]
            self.up.append(Group(block=om_blocks(above, w, blocks)))
            self.adaptive.append(Group(gamma=nn.Linear(z, above), beta=nn.Linear(z, above)))
            if i > 0:
                self.up[-1].upsample = OMUp(w, 1 if ch_mult[i - 1] == 1 else 2)
        self.norm_out, self.conv_out = nn.GroupNorm(32, m[0], 1e-6), OMConv(m[0], 3, 3)

    def values(self, codes):  # [N,T,H,W] to [N,z,T,H,W]
        return 2.0 * (codes[:, None] >> torch.arange(self.z).view(1, -1, 1, 1, 1) & 1) - 1

    def forward(self, q):
        mean, deviation = q.mean((2, 3, 4)), (q.var((2, 3, 4)) + 1e-6).sqrt()
        x = self.conv_in(q)
        for block in self.mid_block:
            x = block(x)
        for level, adaptive in zip(reversed(self.up), reversed(self.adaptive)):
            gamma, beta = adaptive.gamma(deviation)[..., None, None, None], adaptive.beta(mean)[..., None, None, None]
            x = F.group_norm(x, 32, eps=1e-6).mul_(gamma).add_(beta)
            for block in level.block:
                x = block(x)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))


# VidTok 1.0


class VTConv(nn.Module):
    """A causal convolution over time; kernels of 3×1×1 are the project's Conv1d over time."""

    def __init__(self, i, o, k, stride=1):
        super().__init__()
        self.front, self.conv = k[0] - stride, nn.Conv3d(i, o, k, (stride, 1, 1), (0, k[1] // 2, k[2] // 2))

    def forward(self, x):
        return self.conv(F.pad(x, (0, 0, 0, 0, self.front, 0)) if self.front else x)


class VTNorm(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = nn.LayerNorm(c, 1e-6)

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class VTBlock(Residual):
    def __init__(self, i, o, conv):
        super().__init__()
        self.norm1, self.norm2, self.conv1, self.conv2 = VTNorm(i), VTNorm(o), conv(i, o), conv(o, o)
        if i != o:
            self.nin_shortcut = nn.Conv2d(i, o, 1)


class VTAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = VTNorm(c)
        self.q, self.k, self.v, self.proj_out = (VTConv(c, c, (1, 1, 1)) for _ in range(4))

    def forward(self, x):
        n, c, t, h, w = x.shape
        u = self.norm(x)
        q, k, v = (f(u).permute(0, 2, 3, 4, 1).reshape(n * t, 1, h * w, c) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).reshape(n, t, h, w, c).permute(0, 4, 1, 2, 3)
        return x + self.proj_out(y)


class VTDown(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, 2)

    def forward(self, x):
        return clips_of(self.conv(F.pad(frames_of(x), (0, 1, 0, 1))), len(x))


class VTUp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return clips_of(self.conv(F.interpolate(frames_of(x), scale_factor=2.0)), len(x))


class VTTime(nn.Module):
    def __init__(self, c, up):
        super().__init__()
        self.up, self.mix_factor, self.conv = up, nn.Parameter(torch.full([1], 2.0)), VTConv(c, c, (3, 3, 3), 1 if up else 2)

    def forward(self, x):
        if self.up:
            x = u = x.repeat_interleave(2, 2)
        else:
            p = F.pad(x, (0, 0, 0, 0, 1, 0))
            u = (p[:, :, :-2:2] + p[:, :, 1:-1:2] + p[:, :, 2::2]) / 3  # avg_pool3d has no bf16
        return torch.lerp(self.conv(x), u, torch.sigmoid(self.mix_factor))


def vt_level(i, o, n):
    space = lambda a, b: nn.Conv2d(a, b, 3, padding=1)
    time = lambda a, b: VTConv(a, b, (3, 1, 1))
    return nn.ModuleList(VTBlock(i if j == 0 else o, o, space) for j in range(n)), nn.ModuleList(VTBlock(o, o, time) for _ in range(n))


def vt_mid(c):
    cube = lambda a, b: VTConv(a, b, (3, 3, 3))
    return Group(block_1=VTBlock(c, c, cube), attn_1=VTAttention(c), block_2=VTBlock(c, c, cube))


def vt_run(level, temporal, x):
    for space, time in zip(level.block, temporal.block):
        x = time(clips_of(space(frames_of(x)), len(x)))
    return x


class VTEncoder(nn.Module):
    def __init__(self, ch, ch_mult, num_res_blocks, levels, tempo_ds=None, **_):
        super().__init__()
        m, last = [ch * k for k in ch_mult], len(ch_mult) - 1
        tempo, self.levels = tempo_ds or [last - 2, last - 1], levels
        self.factor, self.conv_in = 2 ** len(tempo), VTConv(3, ch, (3, 3, 3))
        self.down, self.down_temporal = nn.ModuleList(), nn.ModuleList()
        for i, w in enumerate(m):
            space, time = vt_level(m[i - 1] if i else ch, w, num_res_blocks)
            self.down.append(Group(block=space)), self.down_temporal.append(Group(block=time))
            if i < last:
                self.down[i].downsample = VTDown(w)
            if i in tempo:
                self.down_temporal[i].downsample = VTTime(w, False)
        self.mid, self.norm_out, self.conv_out = vt_mid(m[-1]), VTNorm(m[-1]), VTConv(m[-1], len(levels), (3, 3, 3))

    def forward(self, x):
        if x.shape[2] % self.factor:
            x = torch.cat([x[:, :, :1]] * (self.factor - 1) + [x], 2)
        x = self.conv_in(x)
        for level, temporal in zip(self.down, self.down_temporal):
            x = vt_run(level, temporal, x)
            for part in (level, temporal):
                if hasattr(part, "downsample"):
                    x = part.downsample(x)
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))

    def codes(self, h):
        code, base = 0, 1
        for i, n in enumerate(self.levels):
            r, o = (n - 1) * 1.001 / 2, 0.5 * (n % 2 == 0)
            digit = torch.round(torch.tanh(h[:, i].float() + np.arctanh(o / r)) * r - o) + n // 2
            code, base = code + digit.long() * base, base * n
        return code


class VTDecoder(nn.Module):
    def __init__(self, ch, ch_mult, num_res_blocks, levels, tempo_us=None, **_):
        super().__init__()
        m, tempo = [ch * k for k in ch_mult], tempo_us or [1, 2]
        self.levels, self.factor, self.conv_in, self.mid = levels, 2 ** len(tempo), VTConv(len(levels), m[-1], (3, 3, 3)), vt_mid(m[-1])
        self.up, self.up_temporal = nn.ModuleList(), nn.ModuleList()
        for i, w in enumerate(m):
            space, time = vt_level(m[min(i + 1, len(m) - 1)], w, num_res_blocks + 1)
            self.up.append(Group(block=space)), self.up_temporal.append(Group(block=time))
            if i > 0:
                self.up[i].upsample = VTUp(w)
            if i in tempo:
                self.up_temporal[i].upsample = VTTime(w, True)
        self.norm_out, self.conv_out = VTNorm(m[0]), VTConv(m[0], 3, (3, 3, 3))

    def values(self, codes):
        digits = []
        for n in self.levels:
            digits.append((codes % n - n // 2) / (n // 2))
            codes = codes // n
        return torch.stack(digits, 1)

    def forward(self, q):
        x = self.conv_in(q)
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        for level, temporal in zip(reversed(self.up), reversed(self.up_temporal)):
            x = vt_run(level, temporal, x)
            for part in (level, temporal):
                if hasattr(part, "upsample"):
                    x = part.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))[:, :, self.factor - 1 :]


# Cosmos DV


class CSConv(nn.Module):
    def __init__(self, i, o, k=(1, 1, 1), stride=(1, 1, 1), pad=True):
        super().__init__()
        self.front, self.conv3d = k[0] - stride[0], nn.Conv3d(i, o, k, stride, (0, k[1] // 2 * pad, k[2] // 2 * pad))

    def forward(self, x):
        return self.conv3d(torch.cat([x[:, :, :1]] * self.front + [x], 2) if self.front else x)


def cs_pair(i, o):
    return nn.Sequential(CSConv(i, o, (1, 3, 3)), CSConv(o, o, (3, 1, 1)))


class CSNorm(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = nn.GroupNorm(1, c, 1e-6)

    def forward(self, x):
        return clips_of(self.norm(frames_of(x)), len(x))


class CSBlock(Residual):
    def __init__(self, i, o):
        super().__init__()
        self.norm1, self.norm2, self.conv1, self.conv2 = CSNorm(i), CSNorm(o), cs_pair(i, o), cs_pair(o, o)
        if i != o:
            self.nin_shortcut = CSConv(i, o)


class CSAttention(nn.Module):
    def __init__(self, c, of_time):
        super().__init__()
        self.of_time, self.norm = of_time, CSNorm(c)
        self.q, self.k, self.v, self.proj_out = (CSConv(c, c) for _ in range(4))

    def forward(self, x):
        n, c, t, h, w = x.shape
        u = self.norm(x)
        order = (0, 3, 4, 2, 1) if self.of_time else (0, 2, 3, 4, 1)
        q, k, v = (f(u).permute(order).reshape(-1, 1, t if self.of_time else h * w, c) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.of_time)
        y = y.reshape(n, h, w, t, c).permute(0, 4, 3, 1, 2) if self.of_time else y.reshape(n, t, h, w, c).permute(0, 4, 1, 2, 3)
        return x + self.proj_out(y)


class CSDown(nn.Module):
    def __init__(self, c, space, time):
        super().__init__()
        if space:
            self.conv1 = CSConv(c, c, (1, 3, 3), (1, 2, 2), False)
        if time:
            self.conv2 = CSConv(c, c, (3, 1, 1), (2, 1, 1))
        self.conv3 = CSConv(c, c)

    def forward(self, x):
        if hasattr(self, "conv1"):
            x = self.conv1(F.pad(x, (0, 1, 0, 1))) + clips_of(F.avg_pool2d(frames_of(x), 2), len(x))
        if hasattr(self, "conv2"):
            x = torch.cat([x[:, :, :1], x], 2)
            x = self.conv2(x) + (x[:, :, ::2] + x[:, :, 1::2]) / 2
        return self.conv3(x)


class CSUp(nn.Module):
    def __init__(self, c, space, time):
        super().__init__()
        if time:
            self.conv1 = CSConv(c, c, (3, 1, 1))
        if space:
            self.conv2 = CSConv(c, c, (1, 3, 3))
        self.conv3 = CSConv(c, c)

    def forward(self, x):
        if hasattr(self, "conv1"):
            x = x.repeat_interleave(2, 2)[:, :, 1:] if x.shape[2] > 1 else x
            x = x + self.conv1(x)
        if hasattr(self, "conv2"):
            x = clips_of(F.interpolate(frames_of(x), scale_factor=2.0), len(x))
            x = x + self.conv2(x)
        return self.conv3(x)


def cs_mid(c):
    return Group(block_1=CSBlock(c, c), attn_1=nn.Sequential(CSAttention(c, False), CSAttention(c, True)), block_2=CSBlock(c, c))


def haar(x):  # [N,C,T,H,W] to [N,8·C,T/2,H/2,W/2], the bands lll, llh, ... (time, height, width) before the channels
    bands = [x]
    for axis in (2, 3, 4):
        pairs = [x.unflatten(axis, (-1, 2)).unbind(axis + 1) for x in bands]
        bands = [y for a, b in pairs for y in ((a + b) / 2, (a - b) / 2)]
    return torch.cat(bands, 1)


def haar_back(x):
    bands = x.chunk(8, 1)
    for axis in (4, 3, 2):
        bands = [torch.stack([l + h, l - h], axis + 1).flatten(axis, axis + 1) for l, h in zip(bands[::2], bands[1::2])]
    return bands[0]


def cs_factors(space, time, patch):
    return (space // patch).bit_length() - 1, (time // patch).bit_length() - 1


class CSEncoder(VTEncoder):
    def __init__(self, ch, num_res_blocks, z, patch, space, time, levels, ch_mult=(2, 4, 4)):
        nn.Module.__init__(self)
        m, self.levels, self.patch = [ch * k for k in ch_mult], levels, patch
        spaces, times = cs_factors(space, time, patch)
        self.conv_in, self.down = cs_pair(3 * patch**3, ch), nn.ModuleList()
        for i, w in enumerate(m):
            above = m[i - 1] if i else ch
            self.down.append(Group(block=nn.ModuleList(CSBlock(above if j == 0 else w, w) for j in range(num_res_blocks))))
            if i < len(m) - 1 and (i < spaces or i < times):
                self.down[-1].downsample = CSDown(w, i < spaces, i < times)
        self.mid, self.norm_out, self.conv_out, self.quant_conv = cs_mid(m[-1]), CSNorm(m[-1]), cs_pair(m[-1], z), CSConv(z, len(levels))

    def forward(self, x):
        x = torch.cat([x[:, :, :1]] * (self.patch - 1) + [x], 2)
        for _ in range(self.patch.bit_length() - 1):
            x = haar(x)
        x = self.conv_in(x)
        for level in self.down:
            for block in level.block:
                x = block(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(x), inplace=True)))


class CSDecoder(VTDecoder):
    def __init__(self, ch, num_res_blocks, z, patch, space, time, levels, ch_mult=(2, 4, 4)):
        nn.Module.__init__(self)
        m, self.levels, self.patch = [ch * k for k in ch_mult], levels, patch
        spaces, times = cs_factors(space, time, patch)
        self.post_quant_conv, self.conv_in, self.mid, self.up = CSConv(len(levels), z), cs_pair(z, m[-1]), cs_mid(m[-1]), nn.ModuleList()
        for i, w in enumerate(m):
            above = m[min(i + 1, len(m) - 1)]
            self.up.append(Group(block=nn.ModuleList(CSBlock(above if j == 0 else w, w) for j in range(num_res_blocks + 1))))
            r = len(m) - 1 - i
            in_time = 0 < r < times + 1
            in_space = in_time or r < spaces and spaces > times
            if i > 0 and in_space:
                self.up[-1].upsample = CSUp(w, in_space, in_time)
        self.norm_out, self.conv_out = CSNorm(m[0]), cs_pair(m[0], 3 * patch**3)

    def forward(self, q):
        x = self.conv_in(self.post_quant_conv(q))
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))
        for level in reversed(self.up):
            for block in level.block:
                x = block(x)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        x = self.conv_out(F.silu(self.norm_out(x), inplace=True))
        for _ in range(self.patch.bit_length() - 1):
            x = haar_back(x)
        return x[:, :, self.patch - 1 :]


NETWORKS = {
    "cosmos-dv8x8x8": (CSEncoder, CSDecoder, dict(ch=128, num_res_blocks=2, z=16, patch=4, space=8, time=8, levels=[8, 8, 8, 5, 5, 5])),
    "open-magvit2-video": (OMEncoder, OMDecoder, dict(ch=128, ch_mult=[1, 2, 2, 4], blocks=4, z=18)),
    "vidtok-fsq-488": (VTEncoder, VTDecoder, dict(ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2, levels=[8] * 6)),
}


def bench(a):
    encoder, decoder, config = NETWORKS[a.network]
    half = (encoder if a.what == "encode" else decoder)(**config).eval().requires_grad_(False)
    x = torch.rand(1, 3, a.frames, a.size, a.size) * 2 - 1
    if a.what == "decode":
        factor, codes = (8, 64000) if a.network.startswith("cosmos") else (4, 2**18)
        x = half.values(torch.randint(codes, (1, 1 + (a.frames - 1) // factor, a.size // 8, a.size // 8)))
    if a.precision == "bf16":
        half, x = half.bfloat16(), x.bfloat16()
    if a.layout == "channels-last":
        x = x.to(memory_format=torch.channels_last_3d)
        for p in half.parameters():
            if p.dim() > 3:
                p.data = p.data.contiguous(memory_format=torch.channels_last_3d if p.dim() == 5 else torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(a.runs):
            start = time.process_time()
            y = half(x)
            if a.what == "encode":
                half.codes(y)
            times.append(time.process_time() - start)
    print(json.dumps({"torch": torch.__version__, "network": a.network, "what": a.what, "precision": a.precision, "layout": a.layout, "frames": a.frames, "size": a.size,
                      "parameters": sum(p.numel() for p in half.parameters()), "cpu_s": round(min(times), 2), "frames_per_cpu_s": round(a.frames / min(times), 3),
                      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


def golden(path):
    raw = open(path, "rb").read()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:end])
    case = json.loads(header.pop("__metadata__")["case"])
    kinds = {"F32": np.float32, "I64": np.int64, "I32": np.int32, "F64": np.float64}
    tensors = {k: np.frombuffer(raw[end + v["data_offsets"][0] : end + v["data_offsets"][1]], kinds[v["dtype"]]).reshape(v["shape"]) for k, v in header.items()}
    return case, {k: torch.from_numpy(v.copy()) for k, v in tensors.items()}


def hashed(name, shape, center, width, seed):
    """The weights of a golden file by its formula."""
    with np.errstate(over="ignore"):
        h, golden_ratio = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)
        for c in name.encode():
            h = (h ^ np.uint64(c)) * np.uint64(0x100000001B3)
        z = h + np.uint64(seed) * golden_ratio + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * golden_ratio
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    unit = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    return torch.from_numpy((np.float32(center) + (unit.astype(np.float32) * np.float32(width))).reshape(shape))


def file_name(half, name):
    return name if "quant_conv" in name else f"{half}.{name}"


class Scripted(nn.Module):
    """A whole Cosmos tokenizer, its parts named as in NVIDIA's files."""

    def __init__(self, config):
        super().__init__()
        self.encoder, self.decoder = CSEncoder(**config), CSDecoder(**config)
        self.quant_conv, self.post_quant_conv = self.encoder.quant_conv, self.decoder.post_quant_conv
        del self.encoder.quant_conv, self.decoder.post_quant_conv
        self.encoder.quant_conv, self.decoder.post_quant_conv = nn.Identity(), nn.Identity()

    def latents(self, x):
        return self.quant_conv(self.encoder(x))

    def forward(self, x):
        return self.decoder(self.post_quant_conv(torch.tanh(self.latents(x))))


def script(a):
    net = Scripted(NETWORKS[a.network][2]).eval().requires_grad_(False).bfloat16()
    clip = torch.rand(1, 3, 9, 64, 64).bfloat16()
    torch.jit.trace(net, clip, check_trace=False).save(a.file)
    net, clip = net.float(), clip.float()
    with torch.inference_mode():
        h = net.latents(2 * clip - 1)
    np.savez(a.file + ".clips.npz", videos=clip.permute(0, 2, 1, 3, 4).numpy())
    np.save(a.file + ".codes.npy", net.encoder.codes(h).numpy())


def check(a):
    for path in a.files:
        case, t = golden(path)
        encoder, decoder, _ = NETWORKS[{"open-magvit2-video": "open-magvit2-video", "cosmos-dv": "cosmos-dv8x8x8"}.get(case["network"], "vidtok-fsq-488")]
        weights = {"encoder": encoder(**case["config"]), "decoder": decoder(**case["config"])}
        own = {file_name(half, name): p for half, net in weights.items() for name, p in net.named_parameters()}
        given = {name: rest for name, *rest in case["params"] if not name.startswith("loss.")}
        assert own.keys() == given.keys(), own.keys() ^ given.keys()
        for name, (shape, center, width) in given.items():
            own[name].data.copy_(hashed(name, shape, center, width, case["weights"]["seed"]).reshape(own[name].shape))
        with torch.inference_mode():
            h = weights["encoder"](t["in.video"])
            codes = weights["encoder"].codes(h)
            back = weights["decoder"](weights["decoder"].values(t["codes"].long().reshape(codes.shape)))
        for name, got in (("out.encoded", h), ("out.recon", back)):
            worst, limit = float((got - t[name].reshape(got.shape)).abs().max()), case["tolerance"][name][0]
            print(f"{case['name']} {name}: {worst:.2g} of {limit:.2g}")
            assert worst <= limit
        assert torch.equal(codes.flatten(), t["codes"].flatten().long()), "codes differ"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="what", required=True)
    for what in ("encode", "decode"):
        s = sub.add_parser(what)
        s.add_argument("network", choices=NETWORKS), s.add_argument("--frames", type=int, default=17), s.add_argument("--size", type=int, default=128)
        s.add_argument("--runs", type=int, default=2), s.add_argument("--layout", choices=("default", "channels-last"), default="default")
        s.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    sub.add_parser("check").add_argument("files", nargs="+")
    s = sub.add_parser("script")
    s.add_argument("network", choices=[n for n in NETWORKS if n.startswith("cosmos")]), s.add_argument("file")
    a = p.parse_args()
    torch.set_num_threads(1), torch.manual_seed(0)
    {"check": check, "script": script}.get(a.what, bench)(a)


if __name__ == "__main__":
    main()
