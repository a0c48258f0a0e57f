"""Writes kinds.2.pt and kinds.5.pt with torch.save, by pickle protocol: every dtype and every sort of view; the same as
kinds.legacy.2.pt and kinds.legacy.5.pt in the format of torch before 1.6; and kinds.old.pt, which calls
torch._utils._rebuild_tensor as torch before 0.4 did.

    pip install torch==2.15.0 && python kinds.py
"""
import collections
import pathlib
import torch


class Old:
    """A tensor that pickles as torch before 0.4 had it."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        t = self.tensor
        return torch._utils._rebuild_tensor, (t.storage(), t.storage_offset(), tuple(t.size()), t.stride())


base = torch.arange(24, dtype=torch.float32)
values = collections.OrderedDict(
    float64=torch.arange(3, dtype=torch.float64) / 3,
    float32=base.reshape(2, 3, 4),
    float16=torch.tensor([1 / 3, -0.0, 65504, 6e-8, float("inf"), -2.5], dtype=torch.float16),
    bfloat16=torch.tensor([1 / 3, -2.5, 3e38], dtype=torch.bfloat16),
    int64=torch.tensor([-(2**63), -1, 2**63 - 1]),
    int32=torch.tensor([-(2**31), -1, 2**31 - 1], dtype=torch.int32),
    int16=torch.tensor([-(2**15), -1, 2**15 - 1], dtype=torch.int16),
    int8=torch.tensor([-128, -1, 127], dtype=torch.int8),
    uint8=torch.tensor([0, 128, 255], dtype=torch.uint8),
    bool=torch.tensor([True, False, True]),
    transposed=base.reshape(2, 3, 4).permute(2, 0, 1),  # shares float32's storage
    slice=base[5:20:3],
    channels_last=torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
    parameter=torch.nn.Parameter(torch.tensor([[1.0], [2.0]])),
    scalar=torch.tensor(7.0),
    empty=torch.zeros(0, 3),
    bytes=b"\x00\x80\xff",
    size=torch.Size([2, 3]),
    set={1},
    frozenset=frozenset({"a"}),
    big=2**40,
)
for protocol in (2, 5):
    here = pathlib.Path(__file__)
    torch.save(values, here.with_name(f"kinds.{protocol}.pt"), pickle_protocol=protocol)
    legacy = here.with_name(f"kinds.legacy.{protocol}.pt")
    torch.save(values, legacy, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    again = torch.load(legacy, weights_only=False)
    assert all(torch.equal(v, again[k]) for k, v in values.items() if torch.is_tensor(v))
old = here.with_name("kinds.old.pt")
torch.save({"transposed": Old(values["transposed"])}, old, _use_new_zipfile_serialization=False)
assert torch.equal(torch.load(old, weights_only=False)["transposed"], values["transposed"])
