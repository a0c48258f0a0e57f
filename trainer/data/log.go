package data

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// tail is a writer of ffmpeg's log, whose lines have their level. It retains the last tailBytes bytes of
// errors, and what ffmpeg says of the first video stream.
type tail struct {
	mu     sync.Mutex
	line   []byte // the last one, without its end so far
	b      []byte
	stream string
}

const (
	tailBytes = 600
	maxLine   = 2000 // bytes of a line that are read
)

// logLevels are the options with which ffmpeg logs what tail expects.
var logLevels = []string{"-nostdin", "-nostats", "-hide_banner", "-loglevel", "level+info"}

// leveled is a line of ffmpeg's log: the part of ffmpeg, the level and the text.
var leveled = regexp.MustCompile(`^((?:\[[^\]]* @ [^\]]*\] )*)\[(\w+)\] (.*)$`)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := p; len(rest) > 0; {
		end := bytes.IndexAny(rest, "\r\n")
		part := rest
		if end >= 0 {
			part, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		t.line = append(t.line, part[:min(len(part), maxLine-len(t.line))]...)
		if end >= 0 {
			t.add(t.line)
			t.line = t.line[:0]
		}
	}
	return len(p), nil
}

// add adds a whole line.
func (t *tail) add(line []byte) {
	if m := leveled.FindSubmatch(line); m != nil {
		switch string(m[2]) {
		case "info":
			if s := string(m[3]); t.stream == "" && strings.Contains(s, ": Video: ") && !strings.Contains(s, "(attached pic)") {
				t.stream = s
			}
			return
		case "warning", "verbose", "debug", "trace":
			return
		}
		line = append(bytes.Clone(m[1]), m[3]...)
	}
	t.b = append(append(t.b, line...), '\n')
	t.b = t.b[max(len(t.b)-tailBytes, 0):]
}

// text is the errors.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.line) > 0 {
		t.add(t.line)
		t.line = t.line[:0]
	}
	if bytes.Contains(t.b, []byte("matches no streams")) { // of -map
		return "there is no video in it"
	}
	text := strings.Join(strings.FieldsFunc(string(bytes.ToValidUTF8(t.b, nil)), func(r rune) bool { return r == '\n' }), "; ")
	if lacksCodec.MatchString(text) {
		text += ": this ffmpeg was built without it; install a complete one (" + installFFmpeg + ")"
	}
	return text
}

// lacksCodec matches what ffmpeg writes where it has no decoder or encoder, from 4.2 on, and from 7.0 on.
var lacksCodec = regexp.MustCompile(`Decoder \(codec [^)]*\) not found|no decoder found for|Unknown (de|en)coder '`)

// unlikeShown are the properties of films whose pixels are not what a player shows, by how ffmpeg describes them.
var unlikeShown = []struct{ stream, property, remedy string }{
	{"smpte2084", "is HDR (PQ)", toneMapping},
	{"arib-std-b67", "is HDR (HLG)", toneMapping},
	{"top first", "is interlaced", deinterlacing},
	{"bottom first", "is interlaced", deinterlacing},
	{"coded first (swapped)", "is interlaced", deinterlacing},
}

const (
	toneMapping   = "its values are read as they are stored, without tone mapping, and look flatter and greyer than a player shows them; ffmpeg's filters zscale and tonemap make an ordinary film of it"
	deinterlacing = "a frame has the lines of two moments, as it is stored; ffmpeg -i IN -vf bwdif OUT makes one moment of each"
)

// unlike lists the properties of a film, which ffmpeg describes, by their place in unlikeShown.
func (t *tail) unlike() (found []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, u := range unlikeShown {
		if strings.Contains(t.stream, u.stream) {
			found = append(found, k)
		}
	}
	return found
}

// NewProblems returns the problems of a Source that are not in told, and adds them to it: reading clips finds more.
func NewProblems(src Source, told map[string]bool) (list []string) {
	for _, p := range src.Problems() {
		if !told[p] {
			told[p] = true
			list = append(list, p)
		}
	}
	return list
}

// noteUnlike adds a sentence to Problems for each property that no film had before.
func (f *files) noteUnlike(i int, found []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range found {
		u := unlikeShown[k]
		if f.unlike[u.property] {
			continue
		}
		f.unlike[u.property] = true
		f.problems = append(f.problems, f.Name(i)+" "+u.property+": "+u.remedy+"; others like it are not named")
	}
}
