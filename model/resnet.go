package model

import (
	"fmt"
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// ResNet50 is torchvision's ResNet-50 (He et al. 2016, with strides in the 3×3 convolutions), in evaluation: batch norms
// are folded into the convolutions before them. Images in [0,1] are normalized with ImageNet's mean and deviation.
type ResNet50 struct {
	stem   frozenConv
	stages [4][]bottleneck
	logits frozenConv
}

// bottleneck is a residual block; down is nil where the shape stays.
type bottleneck struct {
	convs  [3]frozenConv
	down   *frozenConv
	stride int
}

// ImageNet's mean and standard deviation of channels.
var (
	imageNetMean = [3]float64{.485, .456, .406}
	imageNetStd  = [3]float64{.229, .224, .225}
)

// resNetBlocks are the blocks of each stage.
var resNetBlocks = [4]int{3, 4, 6, 3}

// ResNet50Min is the least height and width of an image.
const ResNet50Min = 32

// NewResNet50 reads the weights in torchvision's names. Further tensors are ignored.
func NewResNet50(tensors map[string]Tensor) (r *ResNet50, err error) {
	r = &ResNet50{}
	conv := func(c *frozenConv, name, norm string, out, in, k int) {
		if err == nil {
			*c, err = newNormedConv(tensors, name, norm, out, in, k, k, 1e-5)
		}
	}
	conv(&r.stem, "conv1", "bn1", 64, 3, 7)
	in := 64
	for s, n := range resNetBlocks {
		width := 64 << s
		for i := range n {
			b, name := bottleneck{stride: 1}, fmt.Sprintf("layer%d.%d", s+1, i)
			if s > 0 && i == 0 {
				b.stride = 2
			}
			for k, c := range [3][3]int{{width, in, 1}, {width, width, 3}, {4 * width, width, 1}} {
				conv(&b.convs[k], fmt.Sprintf("%s.conv%d", name, k+1), fmt.Sprintf("%s.bn%d", name, k+1), c[0], c[1], c[2])
			}
			if i == 0 {
				b.down = &frozenConv{}
				conv(b.down, name+".downsample.0", name+".downsample.1", 4*width, in, 1)
			}
			r.stages[s], in = append(r.stages[s], b), 4*width
		}
	}
	if err == nil {
		r.logits, err = newFrozenConv(tensors, []string{"fc"}, 1000, in, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("ResNet50: %w; want torchvision's resnet50", err)
	}
	return r, nil
}

// newNormedConv reads a convolution without bias and folds the batch norm after it.
func newNormedConv(tensors map[string]Tensor, name, norm string, out, in, kh, kw int, eps float64) (c frozenConv, err error) {
	weight, err := frozenTensor(tensors, []string{name + ".weight"}, out, in, kh, kw)
	if err != nil {
		return c, err
	}
	var parts [4][]float32
	for i, part := range []string{"weight", "bias", "running_mean", "running_var"} {
		if parts[i], err = frozenTensor(tensors, []string{norm + "." + part}, out); err != nil {
			return c, err
		}
	}
	c = frozenConv{name: name, in: in, out: out, kh: kh, kw: kw, weight: make([]float32, len(weight)), bias: make([]float32, out)}
	taps := kh * kw
	for o := range out {
		gain := float64(parts[0][o]) / math.Sqrt(float64(parts[3][o])+eps)
		c.bias[o] = float32(float64(parts[1][o]) - gain*float64(parts[2][o]))
		for i := range in * taps {
			c.weight[(o*taps+i%taps)*in+i/taps] = float32(gain * float64(weight[o*in*taps+i]))
		}
	}
	return c, nil
}

// forward is the logits [N,T,1,1,1000] of frames x [N,T,H,W,1 or 3].
func (r *ResNet50) forward(f *frozen, x *G.Node) *G.Node {
	b := f.b
	x = b.act(kernels.ReLU, f.strided(r.stem, f.normalized(x), 2))
	n, t, h, w, c := b.dims(x)
	pool := kernels.Pool{N: n, T: t, H: h, W: w, C: c, KT: 1, KH: 3, KW: 3, ST: 1, SH: 2, SW: 2, PH: 1, PW: 1, OT: t, OH: (h-1)/2 + 1, OW: (w-1)/2 + 1, Kind: kernels.MaxPool}
	x = b.apply(pool, []int{n, t, pool.OH, pool.OW, c}, x)
	for _, stage := range r.stages {
		for _, block := range stage {
			y := b.act(kernels.ReLU, f.conv(block.convs[0], x))
			y = b.act(kernels.ReLU, f.strided(block.convs[1], y, block.stride))
			y = f.conv(block.convs[2], y)
			if block.down != nil {
				x = f.strided(*block.down, x, block.stride)
			}
			x = b.act(kernels.ReLU, b.add(y, x))
		}
	}
	return f.conv(r.logits, f.pixelMean(x))
}

// loss is the mean squared error of the logits of recon and video, as in MAGVIT (Yu et al. 2023).
func (r *ResNet50) loss(b *builder, recon, video *G.Node) *G.Node {
	f := &frozen{b, nodesByName{}}
	return f.squaredError(r.forward(f, recon), r.forward(f, video))
}

func (*ResNet50) least() int { return ResNet50Min }

// SHA256 is that of FrozenNet.
func (r *ResNet50) SHA256() string {
	var list [][]float32
	add := func(c frozenConv) { list = append(list, c.weight, c.bias) }
	add(r.stem)
	for _, stage := range r.stages {
		for _, block := range stage {
			for _, c := range block.convs {
				add(c)
			}
			if block.down != nil {
				add(*block.down)
			}
		}
	}
	add(r.logits)
	return weightsHash(list)
}
