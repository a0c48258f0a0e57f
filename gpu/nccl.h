// The part of NCCL that this package calls. nccl_open looks for libnccl.so.2 and fills nccl,
// once; it returns 0, or 1 with the loader's reason in why.
//
// Enumerations of nccl.h are unsigned here; a test compares all types with those of an installed nccl.h.
#pragma once
#include <stddef.h>

#ifndef NCCL_UNIQUE_ID_BYTES // else nccl.h is included
typedef struct ncclComm* ncclComm_t;
typedef struct { char internal[128]; } ncclUniqueId;
#endif
struct CUstream_st;

#define NCCL_FUNCTIONS(X) \
  X(unsigned, ncclGetVersion, (int* version)) \
  X(unsigned, ncclGetUniqueId, (ncclUniqueId* id)) \
  X(unsigned, ncclCommInitRank, (ncclComm_t* comm, int ranks, ncclUniqueId id, int rank)) \
  X(unsigned, ncclCommDestroy, (ncclComm_t comm)) \
  X(unsigned, ncclCommAbort, (ncclComm_t comm)) \
  X(unsigned, ncclCommGetAsyncError, (ncclComm_t comm, unsigned* error)) \
  X(const char*, ncclGetErrorString, (unsigned result)) \
  X(const char*, ncclGetLastError, (ncclComm_t comm)) \
  X(unsigned, ncclAllReduce, (const void* src, void* dst, size_t n, unsigned type, unsigned op, ncclComm_t comm, struct CUstream_st* s)) \
  X(unsigned, ncclReduceScatter, (const void* src, void* dst, size_t each, unsigned type, unsigned op, ncclComm_t comm, struct CUstream_st* s)) \
  X(unsigned, ncclAllGather, (const void* src, void* dst, size_t each, unsigned type, ncclComm_t comm, struct CUstream_st* s)) \
  X(unsigned, ncclSend, (const void* src, size_t n, unsigned type, int to, ncclComm_t comm, struct CUstream_st* s)) \
  X(unsigned, ncclRecv, (void* dst, size_t n, unsigned type, int from, ncclComm_t comm, struct CUstream_st* s)) \
  X(unsigned, ncclGroupStart, (void)) \
  X(unsigned, ncclGroupEnd, (void))

// Numbers of nccl.h.
enum { NCCL_SUCCESS = 0, NCCL_IN_PROGRESS = 7, NCCL_FLOAT32 = 7, NCCL_BFLOAT16 = 9, NCCL_SUM = 0 };

#define NCCL_MEMBER(result, name, args) result(*name) args;
struct nccl { NCCL_FUNCTIONS(NCCL_MEMBER) };
extern __attribute__((visibility("hidden"))) struct nccl nccl;

int nccl_open(const char** why);
