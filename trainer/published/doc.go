// Package published exchanges weights with the projects Open-MAGVIT2, VidTok and Cosmos.
//
// Import makes a run directory of a checkpoint file, Export a file of a checkpoint, Describe
// says what a file is. The family and the size of the network follow from the names and shapes
// of the tensors; which of VidTok's versions it is does not, see ImportOptions.
//
// A file is a torch archive, of the state dict itself or of one under "state_dict" as Lightning
// writes it, or a .safetensors file. Import reads one tensor at a time.
package published
