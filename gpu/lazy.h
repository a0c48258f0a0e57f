// Opens libcuda and starts it, once. Returns what cuInit does, or LAZY_ABSENT with the
// loader's reason in why.
#pragma once
#define LAZY_ABSENT (-1)
int lazy_open(const char **why);
