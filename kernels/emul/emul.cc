//go:build emul && linux

// All kernels, compiled for the host.
#include "emul.h"
#include "hopper.h"
#include "mma.h"
#include "table.h"
