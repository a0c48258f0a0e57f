#!/usr/bin/env bash
# nvcc 13.0.88 for sm_90a: where kernel parameters begin that are aligned to 64 bytes, as a CUtensorMap is.
# Expected from the CUDA C++ rules: the parameters are laid out as the fields of a struct, the first one at 0, so that
# cuLaunchKernel takes them in one buffer (CU_LAUNCH_PARAM_BUFFER_POINTER) laid out in this way.
# Seen: parameters begin at 0x210 of the constant bank, which is no multiple of 64, so the first one has offset 48, and
# all that follow are 48 bytes further. Of kernel k(map, float*), and of p(float*) without a map:
#   k: offsets 48 176 of 184 bytes
#   p: offsets 0 of 8 bytes
# On an H200 (driver 580.159.04) a buffer with the first parameter at 0 launches without an error and the kernel gets
# other arguments. Pointers to each parameter (kernelParams) are right; cuFuncGetParamInfo tells the offsets.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --disable-pip-version-check --no-deps --target cuda nvidia-cuda-nvcc==13.0.88 \
  nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
cat >k.cu <<'E'
struct alignas(64) Map { unsigned long long words[16]; };
extern "C" __global__ void k(const __grid_constant__ Map map, float* y) { y[threadIdx.x] = map.words[threadIdx.x]; }
extern "C" __global__ void p(float* y) { y[threadIdx.x] = 1; }
E
cuda/nvidia/cu13/bin/nvcc -std=c++17 -gencode arch=compute_90a,code=sm_90a -cubin -o k.cubin k.cu
python3 - >seen <<'E'
import struct

elf = open("k.cubin", "rb").read()
shoff, = struct.unpack_from("<Q", elf, 40)
size, count, names = struct.unpack_from("<3H", elf, 58)
sections = [struct.unpack_from("<IIQQQQ", elf, shoff + i * size) for i in range(count)]
for kernel in "k", "p":
    for name, _, _, _, at, length in sections:
        start = sections[names][4] + name
        if elf[start:elf.index(b"\0", start)].decode() != ".nv.info." + kernel:
            continue
        info, offsets, i = elf[at:at + length], {}, 0
        while i < len(info):  # format, attribute, then a value or a length and that many bytes
            form, attribute, n = struct.unpack_from("<BBH", info, i)
            if form == 4 and attribute == 0x17:  # KPARAM_INFO: index, ordinal, offset
                _, ordinal, offset = struct.unpack_from("<IHH", info, i + 4)
                offsets[ordinal] = offset
            if form == 3 and attribute == 0x19:  # CBANK_PARAM_SIZE
                total = n
            i += 4 + (n if form == 4 else 0)
        print(f"{kernel}: offsets", *(offsets[o] for o in sorted(offsets)), f"of {total} bytes")
E
cat seen
diff seen - <<'E'
k: offsets 48 176 of 184 bytes
p: offsets 0 of 8 bytes
E
