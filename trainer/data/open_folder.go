package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"magvit/trainer/metrics"
	"magvit/trainer/usage"
)

// splits reports whether folders, arrays or archives divide a set by their names: one is for training, another one for
// validation or test.
func (o *opener) splits(entries []fs.DirEntry) bool {
	var train, held bool
	for _, e := range entries {
		p := partOfEntry(e)
		train, held = train || p == partTrain, held || p == partVal || p == partTest
	}
	return train && held && o.part == ""
}

// partOfEntry is the part that the name of a folder, an array or an archive means, "" if none.
func partOfEntry(e fs.DirEntry) part {
	name := e.Name()
	if !e.IsDir() {
		kind := kindOf(name)
		if kind != ".tar" && !slices.Contains(arrayKinds, kind) {
			return ""
		}
		name = strings.TrimSuffix(name, filepath.Ext(name))
	}
	return partOfFolder(name)
}

// folder searches a folder below a root; nothing is opened but arrays. class is that of the files in it,
// above that of the folder it is in, which a folder of frames belongs to.
func (o *opener) folder(root int, dir, class, above string) error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	at := filepath.Join(o.files.roots[root], dir)
	entries, err := os.ReadDir(at)
	if err != nil && dir != "" && errors.Is(err, fs.ErrPermission) {
		o.problems = append(o.problems, err.Error()+": the folder is left out")
		return nil
	}
	if err != nil {
		return usage.Wrap(err)
	}
	was := o.nested
	o.nested = dir != ""
	defer func() { o.nested = was }()
	if IsRun(at) {
		o.problems = append(o.problems, at+": the directory of a training run; its samples are left out")
		return nil
	}
	if isCodesFolder(at) {
		o.problems = append(o.problems, areCodes(at).Error())
		return nil
	}
	split := o.splits(entries)
	var images []string
	clips := 0
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			st, err := os.Stat(filepath.Join(at, name))
			if err != nil || st.IsDir() { // a linked folder may lead round in a circle
				o.problems = append(o.problems, filepath.Join(at, name)+": a link that is not followed")
				continue
			}
			mode = st.Mode().Type()
		}
		below, before := name, o.part
		if p := partOfEntry(e); split && p != "" {
			below, o.part = class, p
		}
		switch kind := kindOf(name); {
		case mode.IsDir():
			err = o.folder(root, filepath.Join(dir, name), below, class)
		case !mode.IsRegular():
			o.problems = append(o.problems, filepath.Join(at, name)+": not a regular file, left out")
		case slices.Contains(arrayKinds, kind):
			err, clips = o.tolerate(o.array(filepath.Join(at, name))), clips+1
		case kind == ".tar":
			err, clips = o.tolerate(o.shard(filepath.Join(at, name))), clips+1
		case kind == indexKind: // made by magvit index
		case isFilm(kind) || slices.Contains(moveKinds, kind) || isAnimation(filepath.Join(at, name), kind),
			o.opt.Images && slices.Contains(imageKinds, kind):
			o.files.add(root, filepath.Join(dir, name), class, o.part, nil)
			clips++
		case slices.Contains(imageKinds, kind):
			images = append(images, name)
		default:
			o.leave(filepath.Join(at, name))
		}
		o.part = before
		if err != nil {
			return err
		}
	}
	switch {
	case len(images) > 0 && clips > 0:
		o.problems = append(o.problems, fmt.Sprintf("%s: %s next to video files left out (%s); frames of a clip belong in a folder of their own", at, metrics.Plural(len(images), "image"), images[0]))
	case len(images) > 0:
		// The slash distinguishes a folder "clip.gif/" from a file.
		o.files.add(root, dir+"/", above, o.part, nil)
	}
	return nil
}

// isAnimation reports whether a file of a kind of images is a clip of its own.
func isAnimation(path, kind string) bool {
	switch kind {
	case ".webp":
		return animatedWebP(path)
	case ".tif", ".tiff":
		return isStack(path)
	}
	return false
}

// animatedWebP reports whether a file is a WebP animation.
func animatedWebP(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [21]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && isWebP(head[:]) && string(head[12:16]) == "VP8X" && head[20]&2 != 0
}

// IsRun reports whether a folder is the directory of a training run.
func IsRun(dir string) bool {
	config, err := os.Stat(filepath.Join(dir, "config.yaml"))
	if err != nil || !config.Mode().IsRegular() {
		return false
	}
	checkpoints, err := os.Stat(filepath.Join(dir, "checkpoints"))
	return err == nil && checkpoints.IsDir()
}

// CodesFormat is at the start of the index of a folder of codes, CodesIndex its name, and
// CodesMember the end of the name of a clip's codes in an archive; package codes specifies them.
const (
	CodesFormat = "magvit-codes"
	CodesIndex  = "index.json"
	CodesMember = ".codes.npy"
)

// isCodesFolder reports whether a folder holds codes.
func isCodesFolder(dir string) bool {
	f, err := os.Open(filepath.Join(dir, CodesIndex))
	if err != nil {
		return false
	}
	defer f.Close()
	var index struct{ Format string }
	return json.NewDecoder(f).Decode(&index) == nil && index.Format == CodesFormat
}

func areCodes(path string) error {
	return badf("%s: codes, not clips: magvit codes shows what they are, magvit decode makes clips of them", path)
}

// className is the class of what lies in a folder below the one that was opened:
// the folder's name, or "" for the opened one.
func className(dir string) string {
	if dir == "" || dir == "." {
		return ""
	}
	return filepath.Base(dir)
}
