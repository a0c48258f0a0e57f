// Package lucidrains exchanges checkpoints with magvit2-pytorch, the reference.
//
// Import makes a run directory of one of its files, Export writes them. They come in two kinds:
//
//	tokenizer file   VideoTokenizer.save: weights, constructor's arguments
//	trainer file     VideoTokenizerTrainer.save: weights, their average, optimizer, step; no arguments
//
// A tokenizer with compat lucidrains has the parameters of the reference's, by
// name. A reference file also holds discriminators, which are left out, and LFQ's
// constant mask of bits.
package lucidrains
