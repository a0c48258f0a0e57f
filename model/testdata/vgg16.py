"""Writes vgg16.json: torchvision's VGG16 with narrow layers on hashed weights, its classifier cut as magvit2-pytorch does.

    pip install torch==2.15.0 torchvision==0.29.2 && python vgg16.py
"""
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models.vgg import VGG, make_layers

torch.set_num_threads(1)
CHANNELS, HIDDEN = [4, 6, 8, 10, 12], 20


def hashed(n, seed):
    u = (np.arange(n, dtype=np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B1)).astype(np.uint32)
    u ^= u >> np.uint32(16)
    u *= np.uint32(0x85EBCA6B)
    u ^= u >> np.uint32(13)
    u *= np.uint32(0xC2B2AE35)
    u ^= u >> np.uint32(16)
    return (u >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


class Mask(torch.nn.Module):
    """Dropout with given factors."""

    def forward(self, x):
        return x * self.mask


layers = []
for width, convs in zip(CHANNELS, [2, 2, 3, 3, 3]):
    layers += [width] * convs + ["M"]
net = VGG(make_layers(layers), init_weights=False).eval()
net.classifier[0] = torch.nn.Linear(CHANNELS[-1] * 49, HIDDEN)
net.classifier[2] = Mask()
net.classifier[3] = torch.nn.Linear(HIDDEN, HIDDEN)
net.classifier = torch.nn.Sequential(*net.classifier[:-2])
with torch.no_grad():
    linear = [m for m in net.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    for i, m in enumerate(linear):
        w = (hashed(m.weight.numel(), i) * 2 - 1) * np.float32(np.sqrt(6 / m.weight[0].numel()))
        m.weight.copy_(torch.from_numpy(w.reshape(m.weight.shape)))
        m.bias.copy_(torch.from_numpy((hashed(m.bias.numel(), 100 + i) - np.float32(0.5)) * np.float32(0.2)))
net = net.double()
mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(1, 3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(1, 3, 1, 1)


def frames(h, w, c, seed):
    x = torch.from_numpy(hashed(2 * h * w * c, seed).reshape(2, h, w, c)).permute(0, 3, 1, 2).double()
    return x.expand(2, 3, h, w).clone() if c == 1 else x.contiguous()


cases = []
for h, w, c, compat in [(40, 45, 3, False), (96, 70, 3, False), (96, 70, 3, True), (33, 64, 1, True), (256, 290, 3, False)]:
    recon, video = frames(h, w, c, 300).requires_grad_(), frames(h, w, c, 301)

    def features(x, seed):
        net.classifier[2].mask = torch.from_numpy(2 * np.floor(2 * hashed(2 * HIDDEN, seed)).reshape(2, HIDDEN)) if compat else 1
        return net(x if compat else (x - mean) / std)

    of = features(recon, 400)
    loss = F.mse_loss(features(video, 401), of)
    loss.backward()
    g = recon.grad.permute(0, 2, 3, 1)
    g = (g.sum(-1) if c == 1 else g).reshape(-1).numpy()
    stride = max(g.size // 60, 1)
    cases.append(dict(h=h, w=w, channels=c, compat=compat, features=of.detach().reshape(-1).tolist(), loss=loss.item(),
                      gradient_norm=float(np.linalg.norm(g)), gradient_stride=stride, gradient=g[::stride].tolist()))
json.dump(dict(made_with=dict(torch=torch.__version__, torchvision=torchvision.__version__), channels=CHANNELS, hidden=HIDDEN, cases=cases),
          open(pathlib.Path(__file__).with_name("vgg16.json"), "w"), indent=0)
for k in cases:
    print(k["h"], k["w"], k["loss"], k["gradient_norm"])
