package published

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// interpolation is a YAML file in which a value ${a.b.c} is that of another key, as OmegaConf has it, and
// in which values may have tags of Python's types.
type interpolation struct {
	root  *yaml.Node
	nodes int // visited so far
}

// Bounds of what interpolations and aliases may make of a file.
const (
	maxNodes = 100_000
	maxDepth = 64
)

// expand copies a part of the file and replaces all interpolations of keys. Those that are not keys of
// the file stay as they are, such as ${oc.env:HOME}.
func (y *interpolation) expand(n *yaml.Node, depth int) (*yaml.Node, error) {
	if y.nodes++; y.nodes > maxNodes || depth > maxDepth {
		return nil, fmt.Errorf("line %d: interpolations or aliases that contain themselves, or make more than %d values", n.Line, maxNodes)
	}
	if n.Kind == yaml.AliasNode {
		return y.expand(n.Alias, depth+1)
	}
	if n.Kind == yaml.ScalarNode {
		if path, ok := key(n.Value); ok {
			if target := y.find(path, depth); target != nil {
				return y.expand(target, depth+1)
			}
		}
	}
	out := *n
	out.Content, out.Anchor = slices.Clone(n.Content), ""
	if strings.HasPrefix(n.Tag, "!!python/") || strings.HasPrefix(n.Tag, "tag:yaml.org,2002:python/") {
		out.Tag = map[yaml.Kind]string{yaml.SequenceNode: "!!seq", yaml.MappingNode: "!!map"}[n.Kind]
		out.Style &^= yaml.TaggedStyle
	}
	for i, child := range n.Content {
		var err error
		if out.Content[i], err = y.expand(child, depth+1); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// key returns the path of an interpolation that is a whole value: a, b, c of ${a.b.c}.
func key(value string) (path []string, ok bool) {
	inner, begins := strings.CutPrefix(strings.TrimSpace(value), "${")
	inner, closed := strings.CutSuffix(inner, "}")
	if !begins || !closed || strings.ContainsAny(inner, "${}:") {
		return nil, false
	}
	inner = strings.NewReplacer("[", ".", "]", "").Replace(strings.TrimSpace(inner))
	return strings.Split(inner, "."), true
}

// find returns the value of a key of the file, nil if there is none.
func (y *interpolation) find(path []string, depth int) *yaml.Node {
	n := y.root
	for _, part := range path {
		if y.nodes++; y.nodes > maxNodes {
			return nil
		}
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if path, ok := key(n.Value); ok && n.Kind == yaml.ScalarNode && depth < maxDepth {
			if n = y.find(path, depth+1); n == nil {
				return nil
			}
		}
		var next *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == part {
					next = n.Content[i+1]
				}
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(n.Content) {
				next = n.Content[i]
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n
}
