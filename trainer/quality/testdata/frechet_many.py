"""Writes frechet_many.json: Fréchet distances of hashed vectors by scipy.

    pip install numpy==2.4.6 scipy==1.17.1 && python frechet_many.py
"""
import json
import pathlib
import sys

import numpy as np
import scipy
import scipy.linalg


def hashed(n, seed):
    u = (np.arange(n, dtype=np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B1)).astype(np.uint32)
    u ^= u >> np.uint32(16)
    u *= np.uint32(0x85EBCA6B)
    u ^= u >> np.uint32(13)
    u *= np.uint32(0xC2B2AE35)
    u ^= u >> np.uint32(16)
    return (u >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


def vectors(n, d, seed):
    """Neighbouring features are correlated, and each has a size of its own."""
    x = hashed(n * d, seed).reshape(n, d)
    return (x + np.roll(x, 1, axis=1)) * (np.float32(1) + hashed(d, seed + 1))


def distance(n1, n2, d):
    x, y = vectors(n1, d, 10).astype(np.float64), vectors(n2, d, 20).astype(np.float64)
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(c1 @ c2)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * np.trace(np.real(root)))


if len(sys.argv) > 1:
    print(distance(*map(int, sys.argv[1:])))
else:
    cases = [dict(n1=n1, n2=n2, features=d, distance=distance(n1, n2, d)) for n1, n2, d in [(300, 400, 120), (50, 400, 120), (400, 50, 120), (60, 40, 120), (121, 120, 120)]]
    json.dump(dict(made_with=dict(scipy=scipy.__version__, numpy=np.__version__), cases=cases), open(pathlib.Path(__file__).with_name("frechet_many.json"), "w"), indent=0)
    print(cases)
