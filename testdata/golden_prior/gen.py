"""Writes prior.json: logits, loss and gradients of a prior with one block, by torch's own layers.

    python gen.py > prior.json
"""
import json
import sys

import torch
import torch.nn.functional as F

GRID, DIGITS, CLASSES, WIDTH, HEADS, N, SMOOTHING = [2, 1, 3], [3, 2], 2, 6, 2, 2, 0.1
DIM, LENGTH, INNER = WIDTH // HEADS, 6, WIDTH * 4 * 2 // 3

torch.manual_seed(7)


def parameters():
    shapes = {
        "embedding.tokens": (sum(DIGITS) + 1, WIDTH), "embedding.positions": (sum(GRID), WIDTH), "embedding.classes": (CLASSES + 1, WIDTH),
        "blocks.0.attention.norm.gamma": (WIDTH,), "blocks.0.attention.mem_kv": (2, HEADS, 1, DIM),
        "blocks.0.attention.to_qkv.0.weight": (3 * WIDTH, WIDTH), "blocks.0.attention.to_out.1.weight": (WIDTH, WIDTH),
        "blocks.0.feed_forward.norm.gamma": (WIDTH,),
        "blocks.0.feed_forward.net.0.weight": (2 * INNER, WIDTH), "blocks.0.feed_forward.net.0.bias": (2 * INNER,),
        "blocks.0.feed_forward.net.2.weight": (WIDTH, INNER), "blocks.0.feed_forward.net.2.bias": (WIDTH,), "norm.gamma": (WIDTH,),
    }
    for d, n in enumerate(DIGITS):
        shapes[f"head.{d}.weight"], shapes[f"head.{d}.bias"] = (n, WIDTH), (n,)
    return {k: (torch.randn(s) / 2).round(decimals=3).requires_grad_() for k, s in shapes.items()}


def network(p, codes, classes, causal):
    """codes [N,L], -1 for none."""
    digits = [codes % 3, codes // 3 % 2]
    none = codes < 0
    table = p["embedding.tokens"]
    x = torch.where(none[..., None], table[5], F.embedding(digits[0], table) + F.embedding(digits[1] + 3, table))
    i = torch.arange(LENGTH)
    for ids in (i // 3, 2 + i // 3 % 1, 3 + i % 3):
        x = x + F.embedding(ids, p["embedding.positions"])
    x = x + F.embedding(classes, p["embedding.classes"])[:, None]

    def norm(x, name):
        return F.rms_norm(x, (WIDTH,), p[name + ".gamma"], eps=1e-30)

    a = "blocks.0.attention"
    q, k, v = (t.reshape(N, LENGTH, HEADS, DIM).transpose(1, 2) for t in F.linear(norm(x, a + ".norm"), p[a + ".to_qkv.0.weight"]).chunk(3, -1))
    mem = p[a + ".mem_kv"][:, None].expand(2, N, HEADS, 1, DIM)
    k, v = torch.cat([mem[0], k], 2), torch.cat([mem[1], v], 2)
    mask = torch.ones(LENGTH, LENGTH + 1, dtype=torch.bool)
    if causal:
        mask = mask.tril(1)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    x = x + F.linear(y.transpose(1, 2).reshape(N, LENGTH, WIDTH), p[a + ".to_out.1.weight"])
    f = "blocks.0.feed_forward"
    u, g = F.linear(norm(x, f + ".norm"), p[f + ".net.0.weight"], p[f + ".net.0.bias"]).chunk(2, -1)
    x = x + F.linear(u * F.gelu(g), p[f + ".net.2.weight"], p[f + ".net.2.bias"])
    x = norm(x, "norm")
    return [F.linear(x, p[f"head.{d}.weight"], p[f"head.{d}.bias"]) for d in range(2)]


def flat(t):
    return [float(f"{v:.8g}") for v in t.detach().flatten().tolist()]


def case(kind, p):
    codes = torch.randint(6, (N, LENGTH))
    labels = codes.clone()
    if kind == "masked":
        hidden = torch.rand(N, LENGTH) < 0.5
        labels[~hidden] = -1
        tokens = torch.where(hidden, -1, codes)
    else:
        tokens = torch.cat([torch.full((N, 1), -1), codes[:, :-1]], 1)
    classes = torch.tensor([1, CLASSES])
    logits = network(p, tokens, classes, kind == "autoregressive")
    loss = 0
    for d, (l, divisor) in enumerate(zip(logits, (1, 3))):
        target = torch.where(labels < 0, -100, labels // divisor % DIGITS[d])
        loss = loss + F.cross_entropy(l.reshape(N * LENGTH, -1), target.flatten(), label_smoothing=SMOOTHING)
    grads = torch.autograd.grad(loss, list(p.values()))
    return {"kind": kind, "tokens": tokens.flatten().tolist(), "labels": labels.flatten().tolist(), "classes": classes.tolist(),
            "logits": [flat(l) for l in logits], "loss": loss.item(), "grads": dict(zip(p, map(flat, grads)))}


p = parameters()
cases = [case(kind, p) for kind in ("masked", "autoregressive")]
json.dump({"torch": torch.__version__, "grid": GRID, "digits": DIGITS, "classes": CLASSES, "width": WIDTH, "heads": HEADS, "clips": N,
           "label_smoothing": SMOOTHING, "parameters": {k: flat(v) for k, v in p.items()}, "cases": cases}, sys.stdout, indent=0)
