#!/usr/bin/env bash
# torch 2.15.0, a module with a buffer of persistent=False, saved as TorchScript (torch.jit.trace or torch.jit.script), as published
# tokenizers are.
# Expected: the state_dict of the loaded program has the names that the module's has, so that the weights of a .jit file go back
# into the Python class by load_state_dict.
# Seen: TorchScript does not know of persistent=False. The buffer is saved and is in the program's state_dict, and strict loading
# into the very class that the file was made of fails:
#   module: linear.bias, linear.weight
#   traced: constants, linear.bias, linear.weight; strict loading: Unexpected key(s) in state_dict: "constants".
#   scripted: constants, linear.bias, linear.weight; strict loading: Unexpected key(s) in state_dict: "constants".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6

cat >scaled.py <<'PY'
import torch

class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.register_buffer("constants", torch.tensor([0.5, 0.5]), persistent=False)

    def forward(self, x):
        return self.linear(x) * self.constants.sum()

module = Scaled().eval()
print("module:", ", ".join(sorted(module.state_dict())))
for name, program in (("traced", torch.jit.trace(module, torch.zeros(1, 3))), ("scripted", torch.jit.script(module))):
    program.save("program.jit")
    state = torch.jit.load("program.jit").state_dict()
    try:
        Scaled().load_state_dict(state)
        said = "no error"
    except RuntimeError as e:
        said = str(e).split("\n")[-1].strip()
    print(f"{name}: {', '.join(sorted(state))}; strict loading: {said}")
PY
env/bin/python -W ignore scaled.py | tee found
diff found - <<'SEEN'
module: linear.bias, linear.weight
traced: constants, linear.bias, linear.weight; strict loading: Unexpected key(s) in state_dict: "constants".
scripted: constants, linear.bias, linear.weight; strict loading: Unexpected key(s) in state_dict: "constants".
SEEN
