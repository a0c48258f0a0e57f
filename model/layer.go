package model

import (
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Layer is one entry of Config.Layers, in YAML a name, [name, number] or a mapping.
type Layer struct {
	Name      string `yaml:"name"`
	Dim       int    `yaml:"dim,omitempty"`         // compress_*: output channels; 0: twice the input channels
	N         int    `yaml:"n,omitempty"`           // consecutive_residual: number of units
	Kernel    Kernel `yaml:"kernel,omitempty,flow"` // residual kinds: instead of residual_kernel
	Dilation  int    `yaml:"dilation,omitempty"`    // residual kinds: dilation in time; 0: 1
	Antialias bool   `yaml:"antialias,omitempty"`   // compress_*: blurs the axis first; in time, each code then depends on one later frame
}

// Kernel is a convolution's size: time, height, width. In YAML, one number means three
// equal ones.
type Kernel [3]int

// Names of layers.
const (
	Residual              = "residual"
	ConsecutiveResidual   = "consecutive_residual"
	CondResidual          = "cond_residual"
	CompressSpace         = "compress_space"
	CompressTime          = "compress_time"
	AttendSpace           = "attend_space"
	LinearAttendSpace     = "linear_attend_space"
	AttendTime            = "attend_time"
	GateLoopTime          = "gateloop_time"
	CondAttendSpace       = "cond_attend_space"
	CondLinearAttendSpace = "cond_linear_attend_space"
	CondAttendTime        = "cond_attend_time"
)

var layerNames = []string{Residual, ConsecutiveResidual, CondResidual, CompressSpace, CompressTime,
	AttendSpace, LinearAttendSpace, AttendTime, GateLoopTime, CondAttendSpace, CondLinearAttendSpace, CondAttendTime}

// compresses reports whether the layer halves an axis.
func (l Layer) compresses() bool { return l.Name == CompressSpace || l.Name == CompressTime }

// convolves reports whether the layer has a configurable kernel.
func (l Layer) convolves() bool {
	return l.Name == Residual || l.Name == ConsecutiveResidual || l.Name == CondResidual
}

func (k *Kernel) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		var v int
		if err := n.Decode(&v); err != nil {
			return err
		}
		*k = Kernel{v, v, v}
		return nil
	}
	var v []int
	if err := n.Decode(&v); err != nil {
		return err
	}
	if len(v) != 3 {
		return fmt.Errorf("line %d: a kernel of %d numbers; want one, or three: time, height, width", n.Line, len(v))
	}
	copy(k[:], v)
	return nil
}

func (k Kernel) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range k {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v)})
	}
	return n, nil
}

// IsZero reports whether the kernel is that of residual_kernel.
func (k Kernel) IsZero() bool { return k == Kernel{} }

func (l *Layer) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Decode(&l.Name)
	case yaml.SequenceNode:
		if len(n.Content) != 2 {
			return fmt.Errorf("line %d: a layer of %d entries; want [name, number]", n.Line, len(n.Content))
		}
		if err := n.Content[0].Decode(&l.Name); err != nil {
			return err
		}
		if l.Name == ConsecutiveResidual {
			return n.Content[1].Decode(&l.N)
		}
		return n.Content[1].Decode(&l.Dim)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		to := map[string]any{"name": &l.Name, "dim": &l.Dim, "n": &l.N, "kernel": &l.Kernel, "dilation": &l.Dilation, "antialias": &l.Antialias}[n.Content[i].Value]
		if to == nil {
			return fmt.Errorf("line %d: field %s not found in a layer; known: name, dim, n, kernel, dilation, antialias", n.Content[i].Line, n.Content[i].Value)
		}
		if err := n.Content[i+1].Decode(to); err != nil {
			return err
		}
	}
	return nil
}

func (l Layer) MarshalYAML() (any, error) {
	type plain Layer
	switch {
	case !l.Kernel.IsZero() || l.Dilation != 0 || l.Antialias:
		return plain(l), nil
	case l.N != 0:
		return []any{l.Name, l.N}, nil
	case l.Dim != 0:
		return []any{l.Name, l.Dim}, nil
	}
	return l.Name, nil
}
