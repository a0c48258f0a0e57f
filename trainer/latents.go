package trainer

import "magvit/trainer/data"

// EncodeWithLatents is Encode that also gives what the quantizer rounds: latents
// [N,T',H',W',dims].
func (c *Codec) EncodeWithLatents(video []float32, s data.Shape) (codes []int32, latents []float32, err error) {
	if codes, err = c.Encode(video, s); err != nil {
		return nil, nil, err
	}
	p, err := c.padded(s)
	if err != nil {
		return nil, nil, err
	}
	from := c.encoders[p].Buffer("latents")
	latents = make([]float32, from.Len())
	return codes, latents, c.be.Read(latents, from)
}
