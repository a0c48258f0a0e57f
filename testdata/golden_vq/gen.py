"""Golden values of vector quantization and binary spherical quantization, computed by vector-quantize-pytorch.

    python -m venv venv && venv/bin/pip install torch vector-quantize-pytorch==1.32.0 && venv/bin/python gen.py

writes vq.json beside this script.
"""
import json
import pathlib
from importlib.metadata import version

import torch
import torch.nn.functional as F
from vector_quantize_pytorch import LFQ, VectorQuantize

flat = lambda t: [float(v) for v in t.detach().reshape(-1)]


def vq(name, seed, tokens, books, codes, dim, steps, cosine=False, dead=0.):
    """Training steps of a codebook: codes, values, commitment, gradients, then the averages after the update.

    With dead > 0 a code is replaced if its count is below dead times the mean count. The package has an absolute
    threshold and draws at random: the threshold is set for the known total, and dead code number r gets token r.
    """
    torch.manual_seed(seed)
    count = tokens / codes
    m = VectorQuantize(dim=books * dim, codebook_dim=dim, codebook_size=codes, heads=books, separate_codebook_per_head=books > 1, decay=.8, eps=1e-5,
                       commitment_weight=1., use_cosine_sim=cosine, rotation_trick=False, threshold_ema_dead_code=dead * count)
    m.project_in = m.project_out = torch.nn.Identity()
    book = m._codebook
    book.reset_cluster_size = count
    book.embed.copy_(torch.randn(books, codes, dim) * .7)
    if cosine:
        book.embed.copy_(F.normalize(book.embed, dim=-1))
    book.cluster_size.fill_(count)
    book.embed_avg.copy_(book.embed * count)
    out = {"name": name, "tokens": tokens, "books": books, "codes": codes, "dim": dim, "decay": .8, "eps": 1e-5, "spherical": cosine, "dead": dead,
           "embed": flat(book.embed), "count": count, "steps": []}
    for _ in range(steps):
        z = torch.randn(1, tokens, books * dim, requires_grad=True)
        cotangent = torch.randn(1, tokens, books * dim)
        step = {"z": flat(z), "cotangent": flat(cotangent)}
        if dead:
            ranks = torch.zeros(books, codes)

            def sample(samples, n, ranks=ranks):  # the dead codes of a book, in order
                return samples[:, :n]

            def replace(batch_samples, batch_mask, seq_mask=None, original=book.replace, ranks=ranks):
                for b in range(books):
                    ranks[b] = torch.where(batch_mask[b], batch_mask[b].cumsum(0) - 1, 0)
                original(batch_samples, batch_mask, seq_mask)

            book.replace_sample_fn, book.replace = sample, replace
        q, idx, loss = m(z)
        (q * cotangent).sum().backward()
        step |= {"idx": flat(idx), "q": flat(q), "commitment": float(loss.detach()), "grad": flat(z.grad)}
        z.grad = None
        if dead:
            step["picks"] = flat(ranks)
        step |= {"embed": flat(book.embed), "cluster_size": flat(book.cluster_size), "embed_avg": flat(book.embed_avg)}
        # The gradient of the commitment loss alone, from the codes before the update.
        x = F.normalize(z, dim=-1) if cosine else z
        q = q.detach()
        step["grad_commitment"] = flat(torch.autograd.grad(F.mse_loss(q, x), z)[0])
        out["steps"].append(step)
    return out


def bsq(name, seed, tokens, bits, inv_temperature):
    """Codes, values, commitment and the entropies of single bits; the entropy of all codes of a token is their sum."""
    torch.manual_seed(seed)
    x = (torch.randn(1, tokens, bits) * 2).requires_grad_()
    whole = LFQ(codebook_size=2**bits, spherical=True, commitment_loss_weight=1., entropy_loss_weight=1.).train()
    (q, idx, _), parts = whole(x, inv_temperature=inv_temperature, return_loss_breakdown=True)
    single = LFQ(codebook_size=2, num_codebooks=bits, codebook_scale=bits**-.5, commitment_loss_weight=1., entropy_loss_weight=1.).train()
    _, by_bit = single(F.normalize(x, dim=-1), inv_temperature=inv_temperature, return_loss_breakdown=True)
    cotangent = torch.randn(1, tokens, bits)
    out = {"name": name, "tokens": tokens, "bits": bits, "inv_temperature": inv_temperature, "x": flat(x), "cotangent": flat(cotangent),
           "idx": flat(idx), "q": flat(q), "sample_entropy": float(by_bit.per_sample_entropy) * bits, "codebook_entropy": float(by_bit.batch_entropy) * bits,
           "joint_sample_entropy": float(parts.per_sample_entropy), "commitment": float(parts.commitment)}
    for key, value in {"grad": (q * cotangent).sum(), "grad_sample_entropy": by_bit.per_sample_entropy * bits,
                       "grad_codebook_entropy": by_bit.batch_entropy * bits, "grad_commitment": parts.commitment}.items():
        out[key] = flat(torch.autograd.grad(value, x, retain_graph=True)[0])
    return out


cases = {
    "versions": {p: version(p) for p in ("torch", "vector-quantize-pytorch")},
    "vq": [
        vq("plain", 1, tokens=24, books=1, codes=8, dim=5, steps=4),
        vq("two books", 2, tokens=20, books=2, codes=6, dim=3, steps=3),
        vq("cosine", 3, tokens=32, books=1, codes=16, dim=4, steps=3, cosine=True),
        vq("dead codes", 4, tokens=32, books=1, codes=16, dim=4, steps=1, dead=.85),
        vq("dead codes, cosine", 5, tokens=32, books=1, codes=16, dim=4, steps=1, cosine=True, dead=.85),
    ],
    "bsq": [bsq("six bits", 6, 40, 6, 3.), bsq("one bit", 7, 9, 1, .5), bsq("ten bits", 8, 30, 10, 1.5)],
}
pathlib.Path(__file__).with_name("vq.json").write_text(json.dumps(cases, indent=None, separators=(",", ":")) + "\n")
