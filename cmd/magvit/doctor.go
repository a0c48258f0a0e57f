package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/trainer/pretrained"
	"magvit/trainer/version"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "devices, driver, instruction sets, ffmpeg, disk; what works and what to install",
		Description: example("magvit doctor"),
		Flags:       []cli.Flag{jsonFlag()},
		Action:      doctor,
	}
}

// checkup is the result of doctor. What is missing is empty.
type checkup struct {
	Version     string   `json:"version"`
	Go          string   `json:"go"`
	Platform    string   `json:"platform"`
	Cores       int      `json:"cores"`
	GOMAXPROCS  int      `json:"gomaxprocs"`
	Instruction string   `json:"instruction_set"`
	Devices     []string `json:"devices"`    // that --device can choose in this build
	GPUCode     string   `json:"gpu_code"`   // architectures that this build has code for
	GPU         string   `json:"gpu"`        // as nvidia-smi prints it
	GPUDriver   string   `json:"gpu_driver"` // path of libcuda
	NCCL        string   `json:"nccl"`       // version of libnccl, for several GPUs
	FFmpeg      string   `json:"ffmpeg"`
	FFprobe     string   `json:"ffprobe"`
	Folder      string   `json:"folder"`
	FreeBytes   uint64   `json:"free_bytes"`
	Advice      []string `json:"advice"`

	Weights map[string]string `json:"weights"` // files of weights that the user gives, by the metric or loss that they are for
}

func doctor(c *cli.Context) error {
	if _, err := arguments(c, 0, 0, ""); err != nil {
		return err
	}
	be, err := newCPU(kernels.F32)
	if err != nil {
		return err
	}
	defer be.Close()
	d := checkup{
		Version: version.String(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Cores: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0), Instruction: instructions(be.ISA()),
		Devices: []string{be.Name()}, Advice: []string{},
		GPU:       firstLine(c.Context, "nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"),
		GPUDriver: libcudaPath(),
		FFmpeg:    toolVersion(c.Context, "ffmpeg"), FFprobe: toolVersion(c.Context, "ffprobe"),
	}
	if d.Folder, err = os.Getwd(); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Folder, &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", d.Folder, err)
	}
	d.FreeBytes = fs.Bavail * uint64(fs.Bsize)
	d.GPUCode = gpu.Built()
	nccl, noNCCL := gpu.NCCL()
	d.NCCL = nccl
	d.Weights = map[string]string{"lpips": oneLine(pretrained.LPIPSFiles), "vgg16": oneLine(pretrained.VGG16Files), "resnet50": oneLine(pretrained.ResNet50Files), "fid": oneLine(pretrained.InceptionFiles), "fvd": oneLine(pretrained.I3DFiles)}
	problem := d.findGPUs()
	d.advise(be.ISA(), problem)
	if len(d.Devices) > 2 && noNCCL != nil {
		d.Advice = append(d.Advice, "training on several of these GPUs needs NCCL: "+noNCCL.Error())
	}
	if c.Bool("json") {
		return printJSON(c, d)
	}
	return d.write(c.App.Writer)
}

// findGPUs lists the GPUs that this build can use, and opens the first. It returns why
// that fails.
func (d *checkup) findGPUs() error {
	found, err := gpu.Devices()
	if err != nil {
		return err
	}
	for _, i := range found {
		d.Devices = append(d.Devices, "gpu ("+i.String()+")")
	}
	dev, err := gpu.Open(kernels.F32)
	if err != nil {
		return err
	}
	return dev.Close()
}

// instructions describes the CPU's instruction set, and whether --precision bf16 works.
func instructions(isa kernels.ISA) string {
	if kernels.CanBF16() == nil {
		return isa.String() + "; BF16 for --precision bf16"
	}
	return isa.String() + "; no BF16: --precision f32 only"
}

func (d *checkup) advise(isa kernels.ISA, problem error) {
	if d.FFmpeg == "" || d.FFprobe == "" {
		d.Advice = append(d.Advice, "install ffmpeg (Debian, Ubuntu: apt install ffmpeg; macOS: brew install ffmpeg): video files are read and .mp4 is written by it; .npz, GIF and folders of PNG work without")
	}
	if d.FreeBytes < 2e9 {
		d.Advice = append(d.Advice, "free some space here, or use --out on another disk: a long run keeps several checkpoints")
	}
	if isa == kernels.Generic {
		d.Advice = append(d.Advice, "training is several times slower here than on a CPU with AVX2 or AVX-512")
	}
	if d.GOMAXPROCS < d.Cores {
		d.Advice = append(d.Advice, fmt.Sprintf("GOMAXPROCS leaves %d of %d cores unused", d.Cores-d.GOMAXPROCS, d.Cores))
	}
	switch {
	case d.GPUCode == "" && d.GPU+d.GPUDriver != "":
		d.Advice = append(d.Advice, "this build has no GPU code: it computes on the CPU, even if there is a GPU; make gpu builds one with GPU code")
	case d.GPUCode != "" && problem != nil:
		d.Advice = append(d.Advice, "the GPU cannot be used: "+problem.Error())
	}
}

func (d *checkup) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value, without string) {
		if value == "" {
			value = without
		}
		fmt.Fprintf(t, "%s\t%s\n", name, value)
	}
	line("version", d.Version+", "+d.Go+", "+d.Platform, "")
	line("devices", strings.Join(d.Devices, ", "), "")
	line("instruction set", d.Instruction, "")
	line("cores", fmt.Sprintf("%d, GOMAXPROCS %d", d.Cores, d.GOMAXPROCS), "")
	line("gpu code", d.GPUCode, "none in this build (make gpu builds it)")
	line("gpu", d.GPU, "none found (no nvidia-smi)")
	line("gpu driver", d.GPUDriver, "none found (no libcuda.so.1)")
	line("nccl", d.NCCL, "none found (no libnccl.so.2; only several GPUs need it: python3 -m pip install nvidia-nccl-cu13, and its folder in LD_LIBRARY_PATH)")
	line("ffmpeg", d.FFmpeg, "not found")
	line("ffprobe", d.FFprobe, "not found")
	line("free space", inBytes(d.FreeBytes)+" in "+d.Folder, "")
	for _, a := range d.Advice {
		line("advice", a, "")
	}
	if len(d.Advice) == 0 {
		line("advice", "none: everything works", "")
	}
	line("weights of LPIPS", "for --lpips-weights and model.loss.perceptual.weights; none are in this program: "+d.Weights["lpips"], "")
	line("weights of FID", "for --fid-weights: "+d.Weights["fid"], "")
	line("weights of FVD", "for --fvd-weights: "+d.Weights["fvd"], "")
	line("weights of VGG16", "for model.loss.perceptual.kind vgg16: "+d.Weights["vgg16"], "")
	line("weights of ResNet-50", "for model.loss.perceptual.kind resnet50: "+d.Weights["resnet50"], "")
	return t.Flush()
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// firstLine is the first line that a program prints, "" if it cannot be run.
func firstLine(ctx context.Context, program string, args ...string) string {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// toolVersion is the version that a tool of ffmpeg gives: "ffmpeg version 7.1 …".
func toolVersion(ctx context.Context, program string) string {
	words := strings.Fields(firstLine(ctx, program, "-version"))
	if len(words) < 3 {
		return strings.Join(words, " ")
	}
	return words[2]
}

// libcudaPath is the path of the driver's library, "" if it is not in the usual folders.
func libcudaPath() string {
	dirs := append(filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")),
		"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64")
	for _, d := range dirs {
		path := filepath.Join(d, "libcuda.so.1")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
