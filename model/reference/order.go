// Package reference holds the two orders in which magvit2-pytorch lists the parts of a tokenizer. A part is the first
// component of a parameter's name ("encoder_layers" of "encoder_layers.0.0.conv.weight"); parameters of one part have the
// same order everywhere.
package reference

// StateDict is the order of parts in a state_dict.
var StateDict = []string{"conv_in", "conv_in_first_frame", "conv_out_first_frame", "encoder_layers", "decoder_layers", "conv_out",
	"encoder_cond_in", "decoder_cond_in", "quantizers"}

// Optimizer is the order in which the parts are given to the optimizer, which numbers their parameters.
var Optimizer = []string{"conv_in", "conv_in_first_frame", "conv_out_first_frame", "conv_out", "encoder_layers", "decoder_layers",
	"encoder_cond_in", "decoder_cond_in", "quantizers"}
