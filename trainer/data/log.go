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

// address is where a part of ffmpeg is in memory, which differs from run to run.
var address = regexp.MustCompile(` @ [^\]]*\]`)

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
	var m [][]byte
	if bytes.HasPrefix(line, []byte("[")) { // of a program that prints without end most lines may be others
		m = leveled.FindSubmatch(line)
	}
	if m != nil {
		switch string(m[2]) {
		case "info":
			if s := string(m[3]); t.stream == "" && strings.HasPrefix(strings.TrimSpace(s), "Stream #") && strings.Contains(s, ": Video: ") && !strings.Contains(s, "(attached pic)") {
				t.stream = s
			}
			return
		case "warning", "verbose", "debug", "trace":
			return
		}
		line = append(address.ReplaceAll(bytes.Clone(m[1]), []byte("]")), m[3]...)
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
	for _, m := range meanings {
		if m.said.MatchString(text) {
			return text + ": " + m.meaning
		}
	}
	return text
}

// meanings are what errors of ffmpeg mean for who has the film; the first one that matches is added.
var meanings = []struct {
	said    *regexp.Regexp
	meaning string
}{
	{lacksCodec, "this ffmpeg was built without it; install a complete one (" + installFFmpeg + ")"},
	{regexp.MustCompile(`moov atom not found`), "the table of its frames (moov) is missing: the file was cut off, as by a copy or a recording that did not end, or it is no film"},
	{regexp.MustCompile(`corrupt input packet|partial file|Error splitting the input|error reading header`), "the film is damaged or cut off; ffmpeg -i IN OUT makes a film of the part that can be read"},
	{regexp.MustCompile(`Invalid data found when processing input`), "the file is damaged, or it is no film"},
}

// lacksCodec matches what ffmpeg writes where it has no decoder or encoder, from 4.2 on, and from 7.0 on.
var lacksCodec = regexp.MustCompile(`Decoder \(codec [^)]*\) not found|no decoder found for|Unknown (de|en)coder '`)
