package lucidrains

import (
	"fmt"
	"math"

	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/checkpoint"
)

// The reference's constructor builds a discriminator even without a GAN, 35 million
// values by default, and asks for its tensors when it loads. Exported files hold the
// smallest one, with the first values that training would start from.
const (
	placeholderWidth = 4 // channels of every block
	placeholderHead  = 2 // of its linear attention
)

// argument is one of the reference's Discriminator.
type argument struct {
	name  string
	value int
}

func placeholderArguments(c model.Config) []argument {
	return []argument{{"dim", 1}, {"image_size", c.ImageSize}, {"channels", c.Channels}, {"max_dim", placeholderWidth},
		{"linear_attn_heads", 1}, {"linear_attn_dim_head", placeholderHead}, {"ff_mult", 1}}
}

// placeholder is the tensors of such a discriminator under the reference's names,
// in its order: blocks that halve the frame down to 4 to 7 pixels a side, and one
// more; each with linear attention and a feed-forward layer; a score at the end.
func placeholder(c model.Config) (tensors []checkpoint.Tensor) {
	fresh := func(name string, fan int, shape ...int) {
		t := checkpoint.Tensor{Name: "discr." + name, Shape: shape, Values: make([]float32, product(shape))}
		r := philox.New(0, "init "+t.Name, 0, 0)
		for i := range t.Values {
			t.Values[i] = 1 // gains, which have no fan-in
			if fan > 0 {
				bound := 1 / math.Sqrt(float64(fan))
				t.Values[i] = float32(r.Uniform(-bound, bound))
			}
		}
		tensors = append(tensors, t)
	}
	layer := func(name string, out, in int, kernel ...int) {
		fan := in * product(kernel)
		fresh(name+".weight", fan, append([]int{out, in}, kernel...)...)
		fresh(name+".bias", fan, out)
	}
	const w, inner = placeholderWidth, placeholderWidth * 2 / 3
	halvings := int(math.Log2(float64(c.ImageSize)) - 2)
	in := min(c.Channels, w)
	for i := range halvings + 1 {
		block := fmt.Sprintf("blocks.%d.", i)
		layer(block+"0.conv_res", w, in, 1, 1)
		layer(block+"0.net.0", w, in, 3, 3)
		layer(block+"0.net.2", w, w, 3, 3)
		if i < halvings {
			layer(block+"0.downsample.1", w, 4*w, 1, 1)
		}
		fresh(block+"1.0.fn.norm.gamma", 0, w)
		fresh(block+"1.0.fn.attn.to_q.0.weight", w, placeholderHead, w)
		fresh(block+"1.0.fn.attn.to_kv.0.weight", w, 2*placeholderHead, w)
		fresh(block+"1.0.fn.attn.to_out.0.weight", placeholderHead, w, placeholderHead)
		fresh(block+"1.1.fn.norm.gamma", 0, w, 1, 1)
		layer(block+"1.1.fn.net.0", 2*inner, w, 1, 1)
		layer(block+"1.1.fn.net.2", w, inner, 1, 1)
		in = w
	}
	side := c.ImageSize >> halvings
	layer("to_logits.0", w, w, 3, 3)
	layer("to_logits.3", 1, side*side*w)
	return tensors
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
