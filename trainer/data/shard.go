package data

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"magvit/trainer/usage"
)

// member is a file in an archive.
type member struct {
	name      string
	off, size int64
}

// shard lists the clips of a tar archive in webdataset's naming: the members of a
// clip share a key, the name up to the first dot after the last slash, and follow
// each other.
func (o *opener) shard(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return usage.Wrap(err)
	}
	defer f.Close()
	root := o.files.root(path)
	var key string
	var members []member
	none := true
	finish := func() error {
		err := o.sample(f, root, key, members)
		members = nil
		return err
	}
	err = eachMember(f, func(m member) error {
		if err := o.ctx.Err(); err != nil {
			return err
		}
		if strings.HasSuffix(m.name, CodesMember) {
			return areCodes(path)
		}
		k := keyOfMember(m.name)
		none = false
		if frameOf(members, m.name) { // frames of one clip in a folder
			members = append(members, m)
			return nil
		}
		if len(members) > 0 && k != key {
			if err := finish(); err != nil {
				return err
			}
		}
		key, members = k, append(members, m)
		return nil
	}, func(problem string) { o.problems = append(o.problems, path+": "+problem) })
	if err == nil && len(members) > 0 {
		err = finish()
	}
	if err == nil && none {
		o.problems = append(o.problems, path+": there are no files in the archive")
	}
	return err
}

func keyOfMember(name string) string {
	dir, base := path.Split(name)
	base, _, _ = strings.Cut(base, ".")
	return dir + base
}

// frameOf reports whether an image is the next frame of those in the same folder,
// whose names differ in digits only.
func frameOf(members []member, name string) bool {
	if len(members) == 0 || path.Dir(name) == "." || !slices.Contains(imageKinds, kindOf(name)) {
		return false
	}
	digitless := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, s)
	}
	for _, m := range members {
		if path.Dir(m.name) != path.Dir(name) || digitless(m.name) != digitless(name) {
			return false
		}
	}
	return true
}

// sample adds the clip of the members that share a key.
func (o *opener) sample(f *os.File, root int, key string, members []member) error {
	var frames []member
	var video *member
	label, known := "", false
	p := o.part
	for i, m := range members {
		_, extension, _ := strings.Cut(path.Base(m.name), ".")
		kind := kindOf(m.name)
		switch {
		case isFilm(kind) || slices.Contains(moveKinds, kind) || slices.Contains(arrayKinds, kind):
			video = &members[i]
		case slices.Contains(imageKinds, kind):
			frames = append(frames, m)
		case extension == "cls" || extension == "label" || extension == "json":
			raw := make([]byte, min(m.size, 1<<20))
			if _, err := f.ReadAt(raw, m.off); err != nil {
				return fmt.Errorf("%s: %s: %w", f.Name(), m.name, err)
			}
			if extension != "json" {
				label, known = strings.TrimSpace(string(raw)), true
				continue
			}
			if l, err := listedJSON(raw); err == nil {
				if l.Label != "" {
					label, known = l.Label, true
				}
				if l.Split != "" {
					if p = partOf(l.Split); p == "" {
						o.problems = append(o.problems, fmt.Sprintf("%s: %s: split %q; legal: train, val, test", f.Name(), m.name, l.Split))
					}
				}
			}
		case extension == "txt": // a description
		default:
			o.leave(f.Name() + "/" + m.name)
		}
	}
	if video == nil && frames == nil {
		return nil
	}
	more := &fileMore{}
	name := ""
	if video != nil {
		more.off, more.size, more.kind, name = video.off, video.size, kindOf(video.name), video.name
	} else {
		slices.SortFunc(frames, func(a, b member) int { return natural(a.name, b.name) })
		more.off, more.size, more.kind, more.members = frames[0].off, frames[0].size, ".png", frames
		name = key
		if len(frames) > 1 && path.Dir(frames[0].name) != "." && keyOfMember(frames[0].name) != keyOfMember(frames[1].name) {
			name = path.Dir(frames[0].name)
		}
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if !known {
		label = className(path.Dir(name))
	}
	if more.size < 1 {
		o.problems = append(o.problems, fmt.Sprintf("%s: %s is empty", f.Name(), name))
		return nil
	}
	o.files.add(root, filepath.FromSlash(name), label, p, more)
	return nil
}

// eachMember calls f for every file of a tar archive. Behind damage it goes on at the
// next header that is whole, and reports the bytes in between.
func eachMember(file *os.File, f func(member) error, problem func(string)) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	var at int64
	for {
		if _, err := file.Seek(at, io.SeekStart); err != nil {
			return err
		}
		r := tar.NewReader(file)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				break
			}
			off, err := file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			if h.Typeflag == tar.TypeReg && off+h.Size <= st.Size() {
				if err := f(member{h.Name, off, h.Size}); err != nil {
					return err
				}
			} else if off+h.Size > st.Size() {
				problem(fmt.Sprintf("%s is cut off", h.Name))
				return nil
			}
			at = off + (h.Size+511)/512*512
		}
		next, err := nextHeader(file, at)
		if err != nil {
			return err
		}
		if next < 0 {
			if at < st.Size() {
				problem(fmt.Sprintf("damaged from byte %d on, the rest is left out", at))
			}
			return nil
		}
		problem(fmt.Sprintf("damaged from byte %d to %d, left out", at, next))
		at = next
	}
}

// nextHeader finds the next block of 512 bytes that is a header by its magic and
// checksum, after the one at an offset; -1: none.
func nextHeader(file *os.File, at int64) (int64, error) {
	block := make([]byte, 512)
	for at += 512; ; at += 512 {
		if _, err := file.ReadAt(block, at); errors.Is(err, io.EOF) {
			return -1, nil
		} else if err != nil {
			return -1, err
		}
		if string(block[257:262]) != "ustar" {
			continue
		}
		sum, want := 0, 0
		for i, b := range block {
			if i >= 148 && i < 156 {
				b = ' '
			}
			sum += int(b)
		}
		if n, _ := fmt.Sscanf(strings.Trim(string(block[148:156]), " \x00"), "%o", &want); n == 1 && sum == want {
			return at, nil
		}
	}
}

// readMembers decodes the frames of a clip in an archive.
func readMembers(ctx context.Context, file string, members []member) (*pixels, error) {
	p := &pixels{}
	for _, m := range members {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		raw, err := readAll(file, &fileMore{off: m.off, size: m.size})
		if err == nil && len(members) == 1 {
			return decodePicture(raw)
		}
		if err == nil {
			err = p.addImage(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return p, nil
}
