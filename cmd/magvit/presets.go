package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"magvit/model"
	"magvit/trainer/config"
)

func presetsCommand() *cli.Command {
	return &cli.Command{
		Name:        "presets",
		Usage:       "list the presets, or print one as YAML to start a configuration from",
		ArgsUsage:   "[NAME]",
		Description: example("magvit presets", "magvit presets demo > my.yaml"),
		Flags:       []cli.Flag{jsonFlag()},
		Action:      showPresets,
	}
}

// preset is a row of the list.
type preset struct {
	Name       string `json:"name"`
	ImageSize  int    `json:"image_size"`
	Parameters int    `json:"parameters"`
	Quantizer  string `json:"quantizer,omitempty"` // of a tokenizer
	Codebook   int    `json:"codebook,omitempty"`
	Network    string `json:"network,omitempty"` // of a classifier, or the kind of a prior
	About      string `json:"about"`
}

func showPresets(c *cli.Context) error {
	args, err := arguments(c, 0, 1, "NAME")
	if err != nil {
		return err
	}
	if len(args) == 1 {
		text, err := config.PresetText(args[0])
		if err != nil {
			return err
		}
		if !c.Bool("json") {
			_, err = io.WriteString(c.App.Writer, text)
			return err
		}
	}
	names := config.Presets()
	if len(args) == 1 {
		names = args
	}
	var list []preset
	for _, name := range names {
		p, err := describePreset(name)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	if c.Bool("json") {
		return printJSON(c, list)
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, p := range list {
		kind, size := "classifier, "+p.Network, fmt.Sprintf("%d×%d", p.ImageSize, p.ImageSize)
		if p.ImageSize == 0 {
			kind, size = p.Network, "codes"
		}
		if p.Quantizer != "" {
			kind = fmt.Sprintf("%s, %d codes", strings.ToUpper(p.Quantizer), p.Codebook)
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f M parameters\t%s\t%s\n", p.Name, size, float64(p.Parameters)/1e6, kind, p.About)
	}
	return t.Flush()
}

func describePreset(name string) (p preset, err error) {
	cfg, err := config.Preset(name)
	if err != nil {
		return p, err
	}
	text, err := config.PresetText(name)
	if err != nil {
		return p, err
	}
	if cfg.Model.IsPrior() {
		net, err := model.Build(typical(cfg.Model))
		if err != nil {
			return p, err
		}
		return preset{Name: name, Parameters: net.NumParams(), Network: "prior, " + cfg.Model.Prior.Kind, About: firstSentence(text)}, nil
	}
	if cfg.Model.Classifies() {
		net, err := model.Build(typical(cfg.Model))
		if err != nil {
			return p, err
		}
		return preset{Name: name, ImageSize: cfg.Model.ImageSize, Parameters: net.NumParams(), Network: cfg.Model.Classify.Network, About: firstSentence(text)}, nil
	}
	tok, err := model.New(cfg.Model)
	if err != nil {
		return p, err
	}
	return preset{Name: name, ImageSize: cfg.Model.ImageSize, Parameters: tok.NumParams(),
		Quantizer: cfg.Model.Quantizer.Kind, Codebook: tok.CodebookSize(), About: firstSentence(text)}, nil
}

// typical sets what the configuration of a classifier takes from the clips: four classes,
// 16 frames, positions in the image; and that of a prior from the codes: those of the preset demo.
func typical(c model.Config) model.Config {
	if c.IsPrior() {
		return c.ForCodes([]int{8, 8, 8}, []int{8, 5, 5, 5}, 4, "")
	}
	if c.Classifies() {
		c = c.ForClips(4, 16, model.ForecastImage)
		c.Classify.Unit = 1
	}
	return c
}

// firstSentence of the comment that a preset begins with.
func firstSentence(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		words = append(words, strings.Fields(comment)...)
	}
	sentence, _, _ := strings.Cut(strings.Join(words, " "), ". ")
	return strings.TrimSuffix(sentence, ".")
}
