package kernels

// PadRows copies rows of From values to rows of To: with zeros after them, or without their last
// values. Convolutions share what it rounds of weights, and read whole chunks of channels.
//
//	y_rc = x_rc for c < From, else 0
//
// Arguments: y [Rows,To]; x [Rows,From].
type PadRows struct{ Rows, From, To int }

func (s PadRows) Validate() error {
	if err := positive([]string{"Rows", "From"}, s.Rows, s.From); err != nil {
		return err
	}
	return positive([]string{"Rows", "To"}, s.Rows, s.To)
}

func (s PadRows) Args() []Arg {
	return []Arg{either(out("y", s.Rows, s.To)), in("x", s.Rows, s.From)}
}

func (s PadRows) FLOPs() int64  { return 0 }
func (s PadRows) Grads() []Grad { return nil }

func (s PadRows) Define(args ...[]float32) {
	y, x := args[0], args[1]
	for r := range s.Rows {
		row := y[r*s.To:][:s.To]
		clear(row[copy(row, x[r*s.From:][:s.From]):])
	}
}

func (s PadRows) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.To, func(args [][]float32, from, to int) {
		PadRows{to - from, s.From, s.To}.Define(args[0][from*s.To:], args[1][from*s.From:])
	})
}
