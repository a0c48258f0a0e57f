package data

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"magvit/trainer/usage"
)

// listed is a line of a list of clips.
type listed struct {
	Path  string
	Label string
	Start float64 // seconds
	End   float64 // seconds; 0: the end of the film
	Split string
}

// list opens the clips that a .csv, .tsv, .jsonl or .txt file names. Paths are
// relative to the list's folder.
func (o *opener) list(path string) error {
	root := o.files.root(filepath.Dir(path))
	n := 0
	err := readList(path, func(line int, l listed) error {
		if err := o.listed(root, l); err != nil {
			return badf("%s:%d: %w", path, line, err)
		}
		n++
		return o.ctx.Err()
	})
	if err == nil && n == 0 {
		err = errors.New("no clips in the list")
	}
	if err != nil && !errors.Is(err, usage.Error) && o.ctx.Err() == nil {
		err = badf("%s: %w", path, err)
	}
	return err
}

// readList calls add with each line of a list.
func readList(path string, add func(line int, l listed) error) error {
	f, err := os.Open(path)
	if err != nil {
		return usage.Wrap(err)
	}
	defer f.Close()
	// Programs of Windows begin text with a byte order mark, in UTF-8 or UTF-16.
	r := transform.NewReader(f, transform.Chain(unicode.BOMOverride(encoding.Nop.NewDecoder()), lineEnds{}))
	switch kindOf(path) {
	case ".jsonl":
		return listJSON(r, add)
	case ".txt":
		return listText(r, filepath.Dir(path), add)
	}
	return listCSV(r, kindOf(path) == ".tsv", add)
}

// lineEnds makes line feeds of carriage returns that no line feed follows, with which some spreadsheets end lines.
type lineEnds struct{ transform.NopResetter }

func (lineEnds) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		last := nSrc+1 == len(src)
		switch {
		case nDst == len(dst):
			return nDst, nSrc, transform.ErrShortDst
		case src[nSrc] == '\r' && last && !atEOF:
			return nDst, nSrc, transform.ErrShortSrc
		}
		dst[nDst] = src[nSrc]
		if src[nSrc] == '\r' && (last || src[nSrc+1] != '\n') {
			dst[nDst] = '\n'
		}
		nDst++
	}
	return nDst, nSrc, nil
}

// Listed returns the paths that a list of clips names, as far as it can be read; none if path is no list.
func Listed(path string) (paths []string) {
	if !slices.Contains(listKinds, kindOf(path)) {
		return nil
	}
	readList(path, func(_ int, l listed) error {
		if !filepath.IsAbs(l.Path) {
			l.Path = filepath.Join(filepath.Dir(path), l.Path)
		}
		paths = append(paths, l.Path)
		return nil
	})
	return paths
}

func (o *opener) listed(root int, l listed) error {
	kind := kindOf(l.Path)
	at := l.Path
	if !filepath.IsAbs(at) {
		at = filepath.Join(o.files.roots[root], at)
	}
	st, err := os.Stat(at)
	if err != nil {
		return err
	}
	if !(l.Start >= 0 && l.End >= 0 && (l.End == 0 || l.End > l.Start)) || math.IsInf(l.Start+l.End, 0) {
		return fmt.Errorf("start %v and end %v; legal: seconds, start before end", l.Start, l.End)
	}
	p := o.part
	if l.Split != "" {
		if p = partOf(l.Split); p == "" {
			return fmt.Errorf("split %q; legal: train, val, test", l.Split)
		}
	}
	var more *fileMore
	if l.Start > 0 || l.End > 0 {
		if !isFilm(kind) {
			return fmt.Errorf("%s: start and end are for video files only", l.Path)
		}
		more = &fileMore{start: l.Start, end: l.End}
	}
	name := filepath.Clean(l.Path)
	switch {
	case st.IsDir():
		name += "/"
	case !isFilm(kind) && !slices.Contains(moveKinds, kind) && !slices.Contains(imageKinds, kind) && !slices.Contains(arrayKinds, kind):
		return fmt.Errorf("%s: a list names video files, animations, images, folders of images and arrays of one clip", l.Path)
	}
	o.files.add(root, name, l.Label, p, more)
	return nil
}

// scalarText is text, a number or a truth value of JSON as the name of a class. Whole numbers have no exponent.
func scalarText(v any) (text string, ok bool) {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case string, bool:
		return strings.TrimSpace(fmt.Sprint(v)), true
	}
	return "", false
}

// listedJSON is an object of JSON with the keys of listColumns as a line of a list. Anything else but an array is a label.
func listedJSON(text []byte) (l listed, err error) {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return l, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		l.Label, _ = scalarText(value)
		return l, nil
	}
	lower := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		lower[strings.ToLower(key)] = object[key]
	}
	var fields [len(listColumns)]string
	for k, names := range listColumns {
		for i, name := range names {
			v := lower[name]
			if v == nil {
				continue
			}
			text, ok := scalarText(v)
			if !ok && i > 0 { // another program's key, of another meaning
				continue
			}
			if !ok {
				return l, fmt.Errorf("%q is neither text nor a number", name)
			}
			fields[k] = text
			break
		}
	}
	return l, l.set(fields)
}

// set fills l with the fields of listColumns.
func (l *listed) set(fields [len(listColumns)]string) (err error) {
	*l = listed{Path: fields[0], Label: fields[1], Split: fields[4]}
	for k, to := range map[int]*float64{2: &l.Start, 3: &l.End} {
		if s := fields[k]; s != "" {
			if *to, err = parseTime(s); err != nil {
				return fmt.Errorf("%s %q; legal: seconds, or hours:minutes:seconds", listColumns[k][0], s)
			}
		}
	}
	return nil
}

func listJSON(r io.Reader, add func(int, listed) error) error {
	s := lines(r)
	n := 1
	for ; s.Scan(); n++ {
		text := strings.TrimSpace(s.Text())
		if text == "" {
			continue
		}
		l, err := listedJSON([]byte(text))
		if err == nil && l.Path == "" {
			err = errors.New("there is none")
		}
		if err != nil {
			return fmt.Errorf("line %d: want an object with \"path\", and label, start, end, split where they are known: %w", n, err)
		}
		if err := add(n, l); err != nil {
			return err
		}
	}
	return lineError(s.Err(), n)
}

func lines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 1<<16), maxListLine)
	return s
}

// maxListLine bounds the bytes of a line of a list.
const maxListLine = 1 << 20

// lineError names the line at which a list could not be read further.
func lineError(err error, n int) error {
	if errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d: longer than %d bytes: no list of clips, which has a path a line", n, maxListLine)
	}
	return err
}

// listText reads a path a line, or a path and a label after white space.
func listText(r io.Reader, dir string, add func(int, listed) error) error {
	s := lines(r)
	n := 1
	for ; s.Scan(); n++ {
		text := strings.TrimSpace(s.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		l := listed{Path: text}
		if cut := strings.LastIndexAny(text, " \t"); cut > 0 && !exists(dir, text) {
			l.Path, l.Label = strings.TrimSpace(text[:cut]), text[cut+1:]
		}
		if err := add(n, l); err != nil {
			return err
		}
	}
	return lineError(s.Err(), n)
}

func exists(dir, path string) bool {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	_, err := os.Stat(path)
	return err == nil
}

// listColumns are the columns of a table or the keys of objects, and the names that other programs have for them.
var listColumns = [5][]string{
	{"path", "file", "filename", "video", "video_path", "filepath"}, {"label", "class", "category"},
	{"start", "start_time", "begin"}, {"end", "end_time", "stop"}, {"split", "subset", "part"},
}

// listCSV reads a table with the columns path, label, start, end and split, in any
// order if a first line names them.
func listCSV(r io.Reader, tabs bool, add func(int, listed) error) error {
	b := bufio.NewReaderSize(r, 1<<16)
	head, _ := b.Peek(1 << 16)
	head, _, _ = bytes.Cut(head, []byte("\n"))
	t := csv.NewReader(b)
	t.FieldsPerRecord, t.TrimLeadingSpace, t.LazyQuotes = -1, true, true
	if t.Comma = separator(string(head)); tabs {
		t.Comma = '\t'
	}
	columns, named := [5]int{0, 1, 2, 3, 4}, false
	for first := true; ; first = false {
		row, err := t.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := t.FieldPos(0)
		if first {
			if c, ok := header(row); ok {
				columns, named = c, true
				continue
			}
		}
		var fields [len(listColumns)]string
		for k, c := range columns {
			if c >= 0 && c < len(row) {
				fields[k] = strings.TrimSpace(row[c])
			}
		}
		var l listed
		if err := l.set(fields); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if l.Path == "" {
			return fmt.Errorf("line %d: no path", line)
		}
		if err := add(line, l); first && !named && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w (columns are path, label, start, end and split, or as a first line names them: %s for the path)", err, strings.Join(listColumns[0], ", "))
		} else if err != nil {
			return err
		}
	}
}

// parseTime parses seconds, minutes:seconds or hours:minutes:seconds.
func parseTime(s string) (seconds float64, err error) {
	parts := strings.Split(s, ":")
	if len(parts) > 3 {
		return 0, strconv.ErrSyntax
	}
	for i, part := range parts {
		x, err := strconv.ParseFloat(part, 64)
		if err != nil || i > 0 && !(x >= 0 && x < 60) {
			return 0, strconv.ErrSyntax
		}
		seconds = seconds*60 + x
	}
	return seconds, nil
}

// separator is that of the columns of a table: a comma, or where the first line names columns with it and has no
// comma, a semicolon or a tab.
func separator(line string) rune {
	for _, c := range ";\t" {
		if _, ok := header(strings.Split(line, string(c))); ok && !strings.Contains(line, ",") && strings.ContainsRune(line, c) {
			return c
		}
	}
	return ','
}

// header finds the columns of a table by the names in its first line.
func header(row []string) (columns [5]int, ok bool) {
	for k, names := range listColumns {
		columns[k] = slices.IndexFunc(row, func(s string) bool { return slices.Contains(names, strings.ToLower(strings.TrimSpace(s))) })
	}
	return columns, columns[0] >= 0
}
