"""Writes script.jit with torch.jit.save: a module with a part that has parameters, one that has buffers, and one part under two
names; and frozen.jit, the same after torch.jit.freeze, which keeps no names.

    pip install torch==2.15.0 && python script.py
"""
import pathlib
import torch
from torch import nn


class Pair(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.conv3d = nn.Conv3d(a, b, 1)
        self.register_buffer("order", torch.arange(2))
        self.width = [a, b]

    def forward(self, x):
        return self.conv3d(x) + self.order.sum()


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(Pair(2, 3), Pair(3, 1))
        self.unused = nn.Conv3d(1, 1, 1)
        self.shared = self.encoder[1]
        self.gains = nn.Parameter(torch.tensor([0.5, -2.0], dtype=torch.bfloat16))

    def forward(self, x):
        return self.encoder(x) * self.gains.sum()


net = Network().eval()
with torch.no_grad():
    for i, p in enumerate(net.parameters()):
        p.copy_(torch.arange(p.numel()).reshape(p.shape) + 10 * i)
net.requires_grad_(False)
here = pathlib.Path(__file__).parent
traced = torch.jit.trace(net, torch.zeros(1, 2, 1, 1, 1), check_trace=False)
traced.save(str(here / "script.jit"))
torch.jit.freeze(traced).save(str(here / "frozen.jit"))
for name, value in traced.state_dict().items():
    print(name, value.dtype, value.flatten().tolist())
