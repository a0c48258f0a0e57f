//go:build gpu

#include "nccl.h"

#include <dlfcn.h>

struct nccl nccl;

int nccl_open(const char** why) {
  static int tried;
  static const char* error;
  if (!tried) {
    tried = 1;
    void* lib = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!lib) error = dlerror();
#define FIND(result, name, args) \
  if (!error && !(nccl.name = (result(*) args)dlsym(lib, #name))) error = "libnccl.so.2 has no " #name;
    NCCL_FUNCTIONS(FIND)
  }
  *why = error;
  return error != NULL;
}
