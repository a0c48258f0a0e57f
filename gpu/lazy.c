//go:build gpu

// The functions of libcuda, found when the program asks for them: one binary starts with
// and without a driver.
//
// gorgonia.org/cu links to these functions and calls cuInit before main, where an error
// ends the program. So each name is a jump through a slot, cuInit succeeds without
// doing anything, and lazy_open opens the library, fills the slots and starts it.
#include "lazy.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

#if !defined(__linux__) || !defined(__x86_64__)
#error "GPU code is built for Linux on x86-64 only: the jumps below are its assembler"
#endif

static int absent(void) { return 100; }      // CUDA_ERROR_NO_DEVICE
static int unsupported(void) { return 801; } // CUDA_ERROR_NOT_SUPPORTED: the driver is older than the function

// What gorgonia.org/cu and calls.go call, by the names that libcuda exports.
#define FUNCTIONS(X) \
  X(cuArray3DCreate_v2) X(cuArray3DGetDescriptor_v2) X(cuArrayCreate_v2) X(cuArrayDestroy) \
  X(cuArrayGetDescriptor_v2) X(cuCtxCreate_v2) X(cuCtxDestroy_v2) X(cuCtxDisablePeerAccess) X(cuCtxEnablePeerAccess) \
  X(cuCtxGetApiVersion) X(cuCtxGetCacheConfig) X(cuCtxGetCurrent) X(cuCtxGetDevice) X(cuCtxGetFlags) \
  X(cuCtxGetLimit) X(cuCtxGetSharedMemConfig) X(cuCtxGetStreamPriorityRange) X(cuCtxPopCurrent_v2) \
  X(cuCtxPushCurrent_v2) X(cuCtxResetPersistingL2Cache) X(cuCtxSetCacheConfig) X(cuCtxSetCurrent) X(cuCtxSetLimit) \
  X(cuCtxSetSharedMemConfig) X(cuCtxSynchronize) X(cuDeviceCanAccessPeer) X(cuDeviceGet) X(cuDeviceGetAttribute) \
  X(cuDeviceGetCount) X(cuDeviceGetName) X(cuDeviceGetP2PAttribute) X(cuDeviceGetUuid) X(cuDevicePrimaryCtxGetState) \
  X(cuDevicePrimaryCtxRelease_v2) X(cuDevicePrimaryCtxReset_v2) X(cuDevicePrimaryCtxRetain) \
  X(cuDevicePrimaryCtxSetFlags_v2) X(cuDeviceTotalMem_v2) X(cuDriverGetVersion) X(cuEventCreate) \
  X(cuEventDestroy_v2) X(cuEventElapsedTime) X(cuEventQuery) X(cuEventRecord) X(cuEventSynchronize) \
  X(cuFuncGetAttribute) X(cuFuncGetParamInfo) X(cuFuncSetAttribute) X(cuFuncSetCacheConfig) X(cuFuncSetSharedMemConfig) X(cuGetErrorName) \
  X(cuGetErrorString) X(cuGraphAddChildGraphNode) X(cuGraphAddDependencies) X(cuGraphAddEmptyNode) \
  X(cuGraphAddHostNode) X(cuGraphAddKernelNode_v2) X(cuGraphAddMemcpyNode) X(cuGraphAddMemsetNode) X(cuGraphClone) \
  X(cuGraphCreate) X(cuGraphDestroy) X(cuGraphDestroyNode) X(cuGraphExecDestroy) X(cuGraphGetEdges) \
  X(cuGraphInstantiateWithFlags) X(cuGraphLaunch) X(cuLaunchKernel) X(cuLinkAddData_v2) X(cuLinkAddFile_v2) \
  X(cuLinkComplete) X(cuLinkCreate_v2) X(cuLinkDestroy) X(cuMemAdvise) X(cuMemAllocManaged) X(cuMemAllocPitch_v2) \
  X(cuMemAlloc_v2) X(cuMemFreeHost) X(cuMemFree_v2) X(cuMemGetAddressRange_v2) X(cuMemGetInfo_v2) X(cuMemHostAlloc) \
  X(cuMemPrefetchAsync) X(cuMemcpy) X(cuMemcpy2DAsync_v2) X(cuMemcpy2DUnaligned_v2) X(cuMemcpy2D_v2) \
  X(cuMemcpy3DAsync_v2) X(cuMemcpy3DPeer) X(cuMemcpy3DPeerAsync) X(cuMemcpy3D_v2) X(cuMemcpyAsync) \
  X(cuMemcpyAtoA_v2) X(cuMemcpyAtoD_v2) X(cuMemcpyAtoHAsync_v2) X(cuMemcpyAtoH_v2) X(cuMemcpyDtoA_v2) \
  X(cuMemcpyDtoDAsync_v2) X(cuMemcpyDtoD_v2) X(cuMemcpyDtoHAsync_v2) X(cuMemcpyDtoH_v2) X(cuMemcpyHtoAAsync_v2) \
  X(cuMemcpyHtoA_v2) X(cuMemcpyHtoDAsync_v2) X(cuMemcpyHtoD_v2) X(cuMemcpyPeer) X(cuMemcpyPeerAsync) \
  X(cuMemsetD16Async) X(cuMemsetD16_v2) X(cuMemsetD2D16Async) X(cuMemsetD2D16_v2) X(cuMemsetD2D32Async) \
  X(cuMemsetD2D32_v2) X(cuMemsetD2D8Async) X(cuMemsetD2D8_v2) X(cuMemsetD32Async) X(cuMemsetD32_v2) \
  X(cuMemsetD8Async) X(cuMemsetD8_v2) X(cuModuleGetFunction) X(cuModuleGetGlobal_v2) X(cuModuleGetSurfRef) \
  X(cuModuleGetTexRef) X(cuModuleLoad) X(cuModuleLoadData) X(cuModuleLoadDataEx) X(cuModuleLoadFatBinary) \
  X(cuModuleUnload) X(cuOccupancyMaxActiveBlocksPerMultiprocessor) \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags) X(cuPointerGetAttribute) X(cuPointerSetAttribute) \
  X(cuStreamAttachMemAsync) X(cuStreamBeginCapture_v2) X(cuStreamCreate) X(cuStreamCreateWithPriority) \
  X(cuStreamDestroy_v2) X(cuStreamEndCapture) X(cuStreamGetFlags) X(cuStreamGetPriority) X(cuStreamQuery) \
  X(cuStreamSynchronize) X(cuStreamWaitEvent) X(cuStreamWaitValue32_v2) X(cuStreamWriteValue32_v2) \
  X(cuSurfRefGetArray) X(cuSurfRefSetArray) X(cuTensorMapEncodeTiled) X(cuTexRefGetAddressMode) \
  X(cuTexRefGetAddress_v2) X(cuTexRefGetArray) X(cuTexRefGetBorderColor) X(cuTexRefGetFilterMode) \
  X(cuTexRefGetFlags) X(cuTexRefGetFormat) X(cuTexRefGetMaxAnisotropy) X(cuTexRefSetAddress2D_v3) \
  X(cuTexRefSetAddressMode) X(cuTexRefSetAddress_v2) X(cuTexRefSetArray) X(cuTexRefSetBorderColor) \
  X(cuTexRefSetFilterMode) X(cuTexRefSetFlags) X(cuTexRefSetFormat) X(cuTexRefSetMaxAnisotropy) \
  X(cuTexRefSetMipmapFilterMode) X(cuTexRefSetMipmapLevelBias) X(cuTexRefSetMipmapLevelClamp)

#define SLOT(name) __attribute__((visibility("hidden"))) void *slot_##name = (void *)absent;
FUNCTIONS(SLOT)

// Hidden: libcuda must find its own functions, not these.
#define JUMP(name) \
  __asm__(".text\n.globl " #name "\n.hidden " #name "\n.type " #name ",@function\n" #name ": jmp *slot_" #name "(%rip)\n");
FUNCTIONS(JUMP)

__attribute__((visibility("hidden"))) int cuInit(unsigned flags) {
  (void)flags;
  return 0;
}

int lazy_open(const char **why) {
  static int status = LAZY_ABSENT, tried;
  static const char *error;
  if (!tried) {
    tried = 1;
    // Kernels must be loaded before they are captured.
    setenv("CUDA_MODULE_LOADING", "EAGER", 0);
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
      error = dlerror();
    } else {
      void *f;
#define FIND(name) slot_##name = (f = dlsym(lib, #name)) ? f : (void *)unsupported;
      FUNCTIONS(FIND)
      int (*init)(unsigned) = (int (*)(unsigned))dlsym(lib, "cuInit");
      status = init ? init(0) : 801;
    }
  }
  *why = error;
  return status;
}
