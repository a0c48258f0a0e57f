package kernels

var isaWinograd = map[ISA][]winogradForm{
	Generic: plainWinogradForms,
	AVX2: {
		{2, winograd2InputAVX2, winograd2GradOutputAVX2, winograd2WeightsAVX2, winograd2OutputAVX2, winograd2OutputELUAVX2, winograd2OutputELUSlopeAVX2, winograd2GradWeightsAVX2},
		{4, winograd4InputAVX2, winograd4GradOutputAVX2, winograd4WeightsAVX2, winograd4OutputAVX2, winograd4OutputELUAVX2, winograd4OutputELUSlopeAVX2, winograd4GradWeightsAVX2},
	},
	AVX512: {
		{2, winograd2InputAVX512, winograd2GradOutputAVX512, winograd2WeightsAVX512, winograd2OutputAVX512, winograd2OutputELUAVX512, winograd2OutputELUSlopeAVX512, winograd2GradWeightsAVX512},
		{4, winograd4InputAVX512, winograd4GradOutputAVX512, winograd4WeightsAVX512, winograd4OutputAVX512, winograd4OutputELUAVX512, winograd4OutputELUSlopeAVX512, winograd4GradWeightsAVX512},
	},
}
