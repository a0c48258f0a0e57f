package events

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// bins is the number of bins, of equal width, of a histogram.
const bins = 30

// Field numbers of HistogramProto in histogram.proto.
const (
	histogramMin, histogramMax, histogramNum, histogramSum, histogramSquares = 1, 2, 3, 4, 5
	histogramEdges, histogramCounts                                          = 6, 7
)

// Histogram records the distribution of the finite values.
func (w *Writer) Histogram(step int, tag string, values []float32) error {
	low, high, n, sum, squares := math.Inf(1), math.Inf(-1), 0., 0., 0.
	finite := func(do func(v float64)) {
		for _, v := range values {
			if v := float64(v); !math.IsNaN(v) && !math.IsInf(v, 0) {
				do(v)
			}
		}
	}
	finite(func(v float64) {
		low, high, n, sum, squares = min(low, v), max(high, v), n+1, sum+v, squares+v*v
	})
	if n == 0 {
		low, high = 0, 0
	}
	counts := make([]float64, bins)
	if low == high {
		counts = counts[:1]
	}
	finite(func(v float64) {
		i := 0
		if high > low {
			i = min(int((v-low)/(high-low)*bins), bins-1)
		}
		counts[i]++
	})
	var h, edges, numbers []byte
	for i, c := range counts {
		edge := low + (high-low)*float64(i+1)/float64(len(counts))
		if i == len(counts)-1 {
			edge = high
		}
		edges = protowire.AppendFixed64(edges, math.Float64bits(edge))
		numbers = protowire.AppendFixed64(numbers, math.Float64bits(c))
	}
	for _, f := range []struct {
		field protowire.Number
		value float64
	}{{histogramMin, low}, {histogramMax, high}, {histogramNum, n}, {histogramSum, sum}, {histogramSquares, squares}} {
		h = appendDouble(h, f.field, f.value)
	}
	h = appendBytes(appendBytes(h, histogramEdges, edges), histogramCounts, numbers)
	return w.summary(step, appendBytes(appendBytes(nil, valueTag, []byte(tag)), valueHistogram, h))
}

// Field numbers of SummaryMetadata, of the hparams plugin's plugin_data.proto, and of
// google.protobuf.Value.
const (
	valueTensor, valueMetadata                     = 8, 9
	metadataPlugin, pluginName, pluginContent      = 1, 1, 2
	contentStart                                   = 3
	startHyperparameters, startGroup, startSeconds = 1, 4, 5
	mapKey, mapValue                               = 1, 2
	anyNumber, anyText, anyBool                    = 2, 3, 4
	tensorType, tensorShape, float                 = 1, 2, 1
)

const hyperparametersTag = "_hparams_/session_start_info"

// Hyperparameters records the settings of a run, numbers, texts and booleans, for
// TensorBoard's table of runs. Runs with the same group are repetitions. A file that has them already stays as it is.
func (w *Writer) Hyperparameters(group string, settings map[string]any) error {
	var start []byte
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		var v []byte
		switch x := settings[name].(type) {
		case float64:
			v = appendDouble(nil, anyNumber, x)
		case string:
			v = appendBytes(nil, anyText, []byte(x))
		case bool:
			v = protowire.AppendVarint(protowire.AppendTag(nil, anyBool, protowire.VarintType), protowire.EncodeBool(x))
		default:
			return fmt.Errorf("event file: setting %s is a %T: want float64, string or bool", name, x)
		}
		start = appendBytes(start, startHyperparameters, appendBytes(appendBytes(nil, mapKey, []byte(name)), mapValue, v))
	}
	start = appendBytes(start, startGroup, []byte(group))
	start = appendDouble(start, startSeconds, float64(w.At.UnixNano())/1e9)
	if w.hyperparameters {
		return nil
	}
	w.hyperparameters = true
	plugin := appendBytes(appendBytes(nil, pluginName, []byte("hparams")), pluginContent, appendBytes(nil, contentStart, start))
	nothing := appendBytes(protowire.AppendVarint(protowire.AppendTag(nil, tensorType, protowire.VarintType), float), tensorShape, nil)
	v := appendBytes(nil, valueTag, []byte(hyperparametersTag))
	v = appendBytes(v, valueTensor, nothing) // TensorBoard wants a tensor next to the metadata
	return w.summary(0, appendBytes(v, valueMetadata, appendBytes(nil, metadataPlugin, plugin)))
}
