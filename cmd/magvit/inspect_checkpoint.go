package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/published"
	"magvit/trainer/torchfile"
)

// isCheckpointFile reports whether a path is a file of weights by its extension, or the index of a sharded one.
func isCheckpointFile(path string) bool {
	return torchfile.IsIndex(path) || slices.Contains([]string{".bin", ".ckpt", ".jit", ".pt", ".pth", ".safetensors"}, strings.ToLower(filepath.Ext(path)))
}

// weightsOf is the file of weights that a path names: itself, or that of a checkpoint's folder; "" where it names none.
func weightsOf(path string) string {
	file := filepath.Join(path, checkpoint.ModelFile)
	if _, err := os.Stat(filepath.Join(path, checkpoint.StateFile)); err == nil {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	if isCheckpointFile(path) {
		return path
	}
	return ""
}

// inspectCheckpoint shows what a file of weights is.
func inspectCheckpoint(c *cli.Context, path string) error {
	d, err := published.Describe(path)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, d)
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "tensors\t%d of %d values, %s\n", d.Tensors, d.Values, strings.Join(d.Types, ", "))
	if d.Key != "" {
		fmt.Fprintf(t, "under\t%q\n", d.Key)
	}
	for _, g := range d.Groups {
		fmt.Fprintf(t, "group\t%s\n", g)
	}
	if len(d.Other) > 0 {
		fmt.Fprintf(t, "other parts\t%s\n", strings.Join(d.Other, ", "))
	}
	switch {
	case d.Family == "" && d.Own != "":
		fmt.Fprintf(t, "family\t%s\n", d.Own)
	case d.Unknown != "":
		fmt.Fprintf(t, "family\t%s\n", d.Unknown)
	case d.Mismatch != "":
		fmt.Fprintf(t, "family\t%s, but %s\n", d.Family, d.Mismatch)
	default:
		fmt.Fprintf(t, "family\t%s\n", d.Family)
		fmt.Fprintf(t, "network\t%d channels times %v, %d residual blocks a level\n", d.Width, d.Network.Multipliers, d.Network.Blocks)
		fmt.Fprintf(t, "codes\t%s\n", codesOf(d))
		fmt.Fprintf(t, "averages\t%s\n", map[bool]string{false: "none", true: "model_ema, which import takes unless --weights plain"}[d.Average])
		command := "magvit import --from " + d.Family
		if d.Family == model.VidTok {
			command += " --version 1.0|1.1"
		}
		fmt.Fprintf(t, "import\t%s %s --out RUN\n", command, path)
	}
	return t.Flush()
}

func codesOf(d published.Description) string {
	if d.Family == model.OpenMagvit2 {
		what := "clips"
		if d.Network.Images {
			what = "images"
		}
		return fmt.Sprintf("%d bits, of %s", d.Digits, what)
	}
	if d.Family == model.Cosmos {
		return fmt.Sprintf("%d digits, for %d frames of %dx%d pixels", d.Digits, d.Network.TimeFactor, d.Network.SpaceFactor, d.Network.SpaceFactor)
	}
	return fmt.Sprintf("%d digits, time halved after levels %v", d.Digits, d.Network.TimeDown)
}
