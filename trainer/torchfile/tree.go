package torchfile

import "fmt"

// checkTree refuses what is not a tree in the sense of Read: with memo references n bytes can make a list that holds
// itself, or n pairs that unfold to 2^n values. It visits every object once.
func checkTree(root any, limits Limits) error {
	c := treeCheck{limits: limits, seen: map[any]extent{}}
	_, err := c.visit(root, 0)
	return err
}

type treeCheck struct {
	limits Limits
	seen   map[any]extent
}

// extent is the size of a value's unfolded tree; nodes is 0 while it is being visited.
type extent struct{ nodes, height int }

func (c *treeCheck) visit(v any, depth int) (extent, error) {
	var id any
	switch v := v.(type) {
	case string:
		return extent{1 + len(v)/64, 0}, nil
	case []byte:
		return extent{1 + len(v)/64, 0}, nil
	case Tuple:
		if len(v) == 0 {
			return extent{1, 0}, nil
		}
		id = &v[0]
	case *List, *Set, *Dict, *Opaque:
		id = v
	default:
		return extent{1, 0}, nil
	}
	known, seen := c.seen[id]
	if seen && known.nodes == 0 {
		return extent{}, fmt.Errorf("%s contains itself", kind(v))
	}
	if depth+known.height >= c.limits.Depth {
		return extent{}, fmt.Errorf("values are nested deeper than %d", c.limits.Depth)
	}
	if seen {
		return known, nil
	}
	c.seen[id] = extent{}
	total := extent{1, 0}
	err := eachChild(v, func(child any) error {
		e, err := c.visit(child, depth+1)
		if err != nil {
			return err
		}
		total.nodes += e.nodes
		total.height = max(total.height, e.height+1)
		if total.nodes > c.limits.Expanded {
			return fmt.Errorf("values unfold to more than %d", c.limits.Expanded)
		}
		return nil
	})
	if err != nil {
		return extent{}, err
	}
	c.seen[id] = total
	return total, nil
}

func eachChild(v any, visit func(any) error) error {
	all := func(lists ...[]any) error {
		for _, list := range lists {
			for _, child := range list {
				if err := visit(child); err != nil {
					return err
				}
			}
		}
		return nil
	}
	switch v := v.(type) {
	case Tuple:
		return all(v)
	case *List:
		return all(v.Items)
	case *Set:
		return all(v.Items)
	case *Opaque:
		var kwargs []any
		if v.Kwargs != nil {
			kwargs = []any{v.Kwargs}
		}
		return all(v.Args, kwargs, []any{v.State}, v.Items)
	case *Dict:
		for _, e := range v.Entries {
			if err := all([]any{e.Key, e.Value}); err != nil {
				return err
			}
		}
		return visit(v.Attrs)
	}
	return nil
}
